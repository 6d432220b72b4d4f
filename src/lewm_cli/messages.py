"""Messages between processes. Large arrays travel in memory of their own, which the size of /dev/shm does not limit.

That is quicker than a pipe, too. Where there is no such memory, as on macOS, the pipe takes them like everything else.
"""

import errno
import mmap
import os
import pickle
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from lewm_cli.system_errors import explain

LARGE = 2**16
"""Bytes from which on an array does not go through the pipe."""

ALIGNMENT = 64
"""Arrays begin at multiples of so many bytes."""

WITH_MEMORY, ALONE = b"M", b"-"
"""The first byte of a message says whether arrays in shared memory come with it."""


def send(connection: "Connection[Any, Any]", message: Any) -> None:
    """Send anything that can be pickled.

    Raises:
        OSError: the other end has gone.
    """
    large: list[memoryview] = []

    def goes_with_the_rest(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes >= LARGE:
            large.append(raw)
        return raw.nbytes < LARGE

    rest = pickle.dumps(message, protocol=5, buffer_callback=goes_with_the_rest)
    with _as_socket(connection) as pipe:
        if not (large and _passed(pipe, large)):
            rest, large = pickle.dumps(message, protocol=5) if large else rest, []
            pipe.sendall(ALONE)
    connection.send((rest, [raw.nbytes for raw in large]))


def receive(connection: "Connection[Any, Any]") -> Any:
    """Wait for what the other end sends; its large arrays can be written to.

    Raises:
        EOFError, OSError: the other end has gone.
        LewmError: this process has no room for it.
    """
    with _as_socket(connection) as pipe:
        mark, handles, _, _ = socket.recv_fds(pipe, 1, 1)
    if not mark:
        raise EOFError
    rest, sizes = connection.recv()
    if mark == ALONE:
        return pickle.loads(rest)
    starts = _starts(sizes)
    try:
        if not handles:  # so the system drops them
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        memory = memoryview(mmap.mmap(handles[0], starts[-1] + sizes[-1]))
    except OSError as error:
        raise explain(error) from error
    finally:
        for handle in handles:
            os.close(handle)
    return pickle.loads(rest, buffers=[memory[start : start + size] for start, size in zip(starts, sizes, strict=True)])


@contextmanager
def _as_socket(connection: "Connection[Any, Any]") -> Iterator[socket.socket]:
    """The same pipe, which can pass memory on as a socket."""
    pipe = socket.socket(fileno=connection.fileno())
    try:
        yield pipe
    finally:
        pipe.detach()


def _starts(sizes: Sequence[int]) -> list[int]:
    starts = [0]
    for size in sizes[:-1]:
        starts.append(-(-(starts[-1] + size) // ALIGNMENT) * ALIGNMENT)
    return starts


def _passed(pipe: socket.socket, large: Sequence[memoryview]) -> bool:
    """Pass arrays on in memory without a name; False if there is none to be had."""
    if not hasattr(os, "memfd_create"):
        return False
    try:
        # Written, not mapped: where there is no room, that is an error and not a bus error.
        with open(os.memfd_create("lewm"), "wb") as file:
            for start, raw in zip(_starts([raw.nbytes for raw in large]), large, strict=True):
                file.seek(start)
                file.write(raw)
            file.flush()
            socket.send_fds(pipe, [WITH_MEMORY], [file.fileno()])
    except OSError:
        return False
    return True
