"""Files written whole or not at all: temporary file, fsync, rename, lock."""

import ctypes
import errno
import glob
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lewm_cli.errors import LewmError
from lewm_cli.supported import UnsupportedSystemError

try:
    import fcntl
except ImportError as error:
    raise UnsupportedSystemError from error

PART_SUFFIX = ".part"
"""Ends the name of every file that is still being written; nothing with it is ever listed or read."""

UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT)
"""Errors of the system when a folder cannot be written, or is no folder."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed to `path`.

    On any error, an interrupt included, the temporary file is removed and `path` is what it was.
    Raises LewmError if the folder cannot be written or the disk is full.
    """
    part = _new_part(path, Path.touch)
    try:
        with explained(path, folder=False):
            yield part
        with explained(path):
            mask = os.umask(0o077)  # the only way to read it is to set it
            os.umask(mask)
            part.chmod(0o666 & ~mask)  # safetensors makes its files private
            sync(part)
            part.replace(path)
            sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, replaces: Sequence[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success its files are flushed to disk and it is renamed to `path`.

    On any error, an interrupt included, the temporary folder is removed, and `path` is the old folder or the new one.
    Where the system cannot exchange two folders in one step, a kill in the last moment leaves `path` without files.
    The files in `replaces` may be in `path` before; they go in this order if folders cannot be exchanged.
    Raises LewmError if the folder cannot be written, the disk is full, or other files are in `path`.
    """
    path = path.resolve()  # a link stays one
    part = _new_part(path, Path.mkdir)
    try:
        with explained(path, folder=False):
            yield part
        with explained(path):
            for file in part.iterdir():
                sync(file)
            sync(part)
            others = sorted({file.name for file in path.iterdir()} - {*replaces}) if path.exists() else []
            if others:
                raise LewmError(f"{path} holds other files ({others[0]!r}); choose another folder")
            if not exchanged(part, path):
                for name in replaces:
                    (path / name).unlink(missing_ok=True)
                part.rename(path)  # over an empty folder, or nothing
            sync(path.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step; raises LewmError if it cannot be written."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def locked(path: Path, busy: str | None) -> Iterator[None]:
    """Hold the lock that guards `path` against a second writer, which gets the sentence `busy`, or waits without one.

    The lock file stays behind, unless `path` itself is removed; the kernel frees the lock when its holder dies, so
    that nothing has to be cleaned up after a crash.
    """
    lock = lock_path(path)
    while True:
        with explained(path):
            lock.parent.mkdir(parents=True, exist_ok=True)
            handle = lock.open("a")
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
            except BlockingIOError as error:
                raise LewmError(busy) from error
            # Whoever held it may have removed the lock file with `path`; the next one would lock another file.
            if _is_at(handle.fileno(), lock):
                yield
                return


def is_locked(path: Path) -> bool:
    """True while a process writes `path`; works where nothing can be written.

    It shares the lock for a moment: a writer that begins in this very moment is refused.
    """
    try:
        with lock_path(path).open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:  # or there is no lock, or it cannot be asked
        return isinstance(error, BlockingIOError)
    return False


def lock_path(path: Path) -> Path:
    """The file whose lock guards `path`; it may only be removed while holding that lock."""
    return path.with_name(f".{path.name}.lock")


def stale_parts(path: Path) -> list[Path]:
    """The temporary files that a killed writer of `path` left behind."""
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.*{PART_SUFFIX}"))


def remove_stale_parts(path: Path) -> None:
    """Remove the temporary files that a killed writer of `path` left; call it only while holding the lock of `path`."""
    for part in stale_parts(path):
        part.unlink(missing_ok=True)


@contextmanager
def explained(path: Path, *, folder: bool = True) -> Iterator[None]:
    """Raise LewmError for a full disk, or a folder that cannot be written, while `path` is written.

    Without `folder`, only for a full disk: whatever else goes wrong may not be about `path`.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if disk_is_full(error):
            raise LewmError(
                f"the disk under {path.parent} is full, so {path.name} was not written; "
                "free some space or choose another disk with --home"
            ) from error
        if not (folder and isinstance(error, OSError) and error.errno in UNWRITABLE):
            raise
        raise LewmError(
            f"{path.parent} cannot be written ({os.strerror(error.errno)}); "
            "choose a folder that can be (for what goes into the home: --home or $LEWM_WRITE_HOME)"
        ) from error


def disk_is_full(error: BaseException) -> bool:
    """True if `error` means a full disk; HDF5, torch and safetensors wrap it in errors of their own."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if error.__context__ is not None:  # torch fails again while it closes the archive, with another message
        full = full or disk_is_full(error.__context__)
    return full or "No space left on device" in str(error) or "errno = 28" in str(error)


def exchanged(first: Path, second: Path) -> bool:
    """Exchange two paths in one step; False if one is not there, or the system cannot."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)  # of Linux, and not in the standard library
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(renameat2 and renameat2(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0)


def _new_part(path: Path, make: Callable[[Path], None]) -> Path:
    part = path.with_name(f".{path.name}.{os.getpid()}{PART_SUFFIX}")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        make(part)
    return part


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
