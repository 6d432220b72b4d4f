"""The bytes of an archive in constant memory: one thread decodes ahead, another hashes what has been passed on.

Both let go of Python's lock while they work. A few buffers go round: decoded into by the one thread, looked at and
written by the caller, hashed by the other, then decoded into again.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import ParamSpec, Protocol, TypeVar

from lewm_cli.fetch.unpack.faults import Damage

BUFFERS = 8
BUFFER_BYTES = 1 << 20

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Source(Protocol):
    """What the bytes come from."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill at least some of `buffer`, and tell how much; 0 at the end."""

    def position(self) -> int:
        """Bytes of the archive read so far."""


class Stream:
    """Everything that a source gives, once, from its start to its end; enter it before use.

    Args:
        source: read in another thread.
        advance: told the bytes of the archive read since it was last called.
    """

    def __init__(self, source: Source, advance: Callable[[int], None]) -> None:
        self._source = source
        self._advance = advance
        self._reported = 0
        self._decoder = ThreadPoolExecutor(1, "decode")
        self._hasher = ThreadPoolExecutor(1, "hash")
        self._filled: SimpleQueue[Future[tuple[memoryview, int, int]]] = SimpleQueue()
        self._buffer: memoryview | None = None
        self._rest = memoryview(b"")

    def __enter__(self) -> "Stream":
        for _ in range(BUFFERS):
            self._refill(memoryview(bytearray(BUFFER_BYTES)))
        return self

    def __exit__(self, *failure: object) -> None:
        self._decoder.shutdown(cancel_futures=True)
        self._hasher.shutdown(cancel_futures=True)

    def peek(self, size: int) -> bytes:
        """The next bytes without taking them: at most `size`, fewer only at the end of a buffer."""
        return bytes(self._current()[:size])

    def take(self, size: int, within: str) -> bytes:
        """Exactly `size` bytes, copied.

        Args:
            size: few enough for memory.
            within: what ends too early if they are not there.

        Raises:
            Damage: the stream ends before.
        """
        return b"".join(bytes(piece) for piece in self.pieces(size, within))

    def pieces(self, size: int, within: str) -> Iterator[memoryview]:
        """Exactly `size` bytes in pieces, each good until the next one, and for what `hashed` is told before that.

        Raises:
            Damage: the stream ends before.
        """
        while size:
            piece = self._current()[:size]
            if not piece:
                raise Damage(f"it ends within {within}")
            self._rest = self._rest[len(piece) :]
            size -= len(piece)
            yield piece

    def rest(self) -> Iterator[memoryview]:
        """What is left, in pieces like those of `pieces`."""
        while piece := self._current():
            self._rest = self._rest[len(piece) :]
            yield piece

    def hashed(
        self, function: Callable[Parameters, Result], *arguments: Parameters.args, **named: Parameters.kwargs
    ) -> "Future[Result]":
        """Call `function` in the hashing thread, after all that it was told before."""
        return self._hasher.submit(function, *arguments, **named)

    def _current(self) -> memoryview:
        """What is left of the current buffer, or the next one; empty at the end."""
        if not self._rest:
            if self._buffer is not None:
                self._hasher.submit(self._refill, self._buffer)
            self._buffer, size, position = self._filled.get().result()
            self._rest = self._buffer[:size]
            self._advance(position - self._reported)
            self._reported = position
        return self._rest

    def _refill(self, buffer: memoryview) -> None:
        self._filled.put(self._decoder.submit(self._fill, buffer))

    def _fill(self, buffer: memoryview) -> tuple[memoryview, int, int]:
        size = 0
        while size < BUFFER_BYTES and (count := self._source.readinto(buffer[size:])):
            size += count
        return buffer, size, self._source.position()
