"""Kills a writer at any point, in its bytes or around a step that the file system sees; or lets one call fail."""

import builtins
import errno
import fcntl
import io
import itertools
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Write = Callable[[], object]

STEPS = {"open", "os.chmod", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir"}
"""Audit events of Python that count as a step."""

AFTER = 4
"""Calls of Python into C after a step, before each of which it can be killed; fsync is one of them."""


CALLS = {
    os: (
        *("open", "fsync", "rename", "replace", "unlink", "mkdir", "rmdir", "chmod", "link"),
        *("stat", "lstat", "listdir", "scandir", "sendfile"),
    ),
    io: ("open",),
    builtins: ("open",),
    fcntl: ("flock",),
}
"""Functions that ask the file system for something."""

OF_OPEN_FILES = ("read", "write", "flush", "close")

CODES = tuple(
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "ESTALE", "ENOLCK", "ENOTSUP", "EINVAL"),
        *("ENAMETOOLONG", "EMFILE", "EAGAIN", "EINTR", "ETIMEDOUT", "ENOENT"),
    )
)
"""Errors that file systems give."""


@contextmanager
def failing(place: Path, number: int | None, code: int = 0) -> Iterator[list[str]]:
    """Lets one call about the files under a folder fail; yields a list that gets the calls, of Python, that were made.

    Args:
        number: which call, from 0; None lets all of them through.
        code: the error number it fails with.
    """
    made: list[str] = []
    place = place.resolve()

    def step(name: str, *paths: str) -> None:
        made.append(name)
        if len(made) - 1 == number:
            raise OSError(code, os.strerror(code), *paths)

    def under(argument: object) -> str | None:
        if isinstance(argument, int):
            path = os.path.realpath(f"/proc/self/fd/{argument}")
        elif isinstance(argument, str | Path):
            path = str(argument)
        elif hasattr(argument, "fileno"):
            path = os.path.realpath(f"/proc/self/fd/{argument.fileno()}")
        else:
            return None
        return path if Path(path).is_relative_to(place) else None

    def watched(name: str, call: Callable) -> Callable:
        def watching(*arguments: Any, **options: Any) -> Any:
            path = under(arguments[0]) if arguments else None
            if path is None:
                return call(*arguments, **options)
            step(name, *([path] if isinstance(arguments[0], str | Path) else []))
            answer = call(*arguments, **options)
            return _OpenFile(answer, step) if isinstance(answer, io.IOBase) else answer

        return watching

    with pytest.MonkeyPatch.context() as patch:
        for module, names in CALLS.items():
            for name in names:
                patch.setattr(module, name, watched(name, getattr(module, name)))
        yield made


class _OpenFile:
    """An open file, whose calls can fail too."""

    def __init__(self, file: Any, step: Callable[[str], None]) -> None:
        self._file, self._step = file, step

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._file, name)
        if name not in OF_OPEN_FILES:
            return found

        def call(*arguments: Any) -> Any:
            if name == "close" and not self._file.closed:
                found()  # also one that fails closes it
            self._step(name)
            return found(*arguments)

        return call

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def __enter__(self) -> "_OpenFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def killed_at_byte(count: int, write: Write) -> int:
    """Writes in a process that the kernel kills as soon as a file gets longer than `count` bytes; its exit code."""

    def armed() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (count, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        write()

    return _in_child(armed)


def kill_points(place: Path, write: Write) -> list[tuple[int, int]]:
    """Lists all pairs of `step` and `calls` for `killed_at_step`."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as told:
        try:
            code = _in_child(lambda: _watched(place, write, lambda step: os.write(writer, b".")))
        finally:
            os.close(writer)
        assert code == 0
        steps = len(told.read())
    return list(itertools.product(range(1, steps + 1), range(AFTER)))


def killed_at_step(step: int, calls: int, place: Path, write: Write) -> int:
    """Writes in a process that gets SIGKILL; its exit code.

    Args:
        step: number of steps at `place`, its temporary files included, that it begins.
        calls: number of calls into C that it still makes after that, its garbage collector's not counted.
        place: the file or folder that is written.
        write: writes it.
    """

    def on_step(number: int) -> None:
        if number == step:
            if calls == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            sys.setprofile(die_at(itertools.count(1)))

    def die_at(made: Iterator[int]) -> Callable[..., None]:
        def profile(frame: object, event: str, argument: object) -> None:
            if event == "c_call" and next(made) == calls:
                os.kill(os.getpid(), signal.SIGKILL)

        return profile

    return _in_child(lambda: _watched(place, write, on_step))


def _watched(place: Path, write: Write, on_step: Callable[[int], object]) -> None:
    steps = itertools.count(1)

    def at_place(argument: object) -> bool:
        if not isinstance(argument, str | Path):
            return False
        path = Path(argument)
        return any(one.name == place.name or one.name.startswith(f".{place.name}.") for one in (path, path.parent))

    def hook(event: str, arguments: tuple) -> None:
        if event in STEPS and any(map(at_place, arguments)):
            on_step(next(steps))

    sys.addaudithook(hook)  # never to be removed again, but the process ends soon
    write()


def _in_child(run: Callable[[], None]) -> int:
    child = os.fork()  # what it imports is imported already
    if child == 0:
        try:
            run()
            os._exit(0)
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)
