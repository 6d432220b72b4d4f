"""Files written whole or not at all: temporary file, fsync, rename, lock; without what a file system cannot do."""

import ctypes
import errno
import glob
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lewm_cli.errors import LewmError, TakenError
from lewm_cli.supported import UnsupportedSystemError
from lewm_cli.system_errors import explain, explained

try:
    import fcntl
except ImportError as error:
    raise UnsupportedSystemError from error

PART_SUFFIX = ".part"
"""Ends the name of every file that is still being written; nothing with it is ever listed or read."""

CANNOT = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK)
"""Errors of file systems that have no locks, or cannot flush: network, USB and bucket mounts."""

LOOKS = 8
"""Times that a lock file is looked for at its place: some file systems never say twice that it is the same file."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed to `path`.

    On any error, an interrupt included, the temporary file is removed and `path` is what it was.
    Raises LewmError if the system refuses it: the folder cannot be written, the disk is full.
    """
    part = _new_part(path, lambda new: new.touch(exist_ok=False))
    try:
        with explained(path):
            yield part
            mask = os.umask(0o077)  # the only way to read it is to set it
            os.umask(mask)
            with suppress(OSError):  # not every file system has permissions
                part.chmod(0o666 & ~mask)  # safetensors makes its files private
            sync(part)
            part.replace(path)
        sync(path.parent)
    finally:
        with suppress(OSError):  # what went wrong first is what is told
            part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, replaces: Sequence[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success its files are flushed to disk and it is renamed to `path`.

    On any error, an interrupt included, the temporary folder is removed, and `path` is the old folder or the new one.
    Where the system cannot exchange two folders in one step, a kill in the last moment leaves both hidden beside it.
    The files in `replaces` may be in `path` before.
    Raises LewmError if the system refuses it, or other files are in `path`.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    part = _new_part(path, Path.mkdir)
    try:
        with explained(path):
            yield part
            for file in part.iterdir():
                sync(file)
            sync(part)
            others = sorted({file.name for file in path.iterdir()} - {*replaces}) if path.exists() else []
            if others:
                raise LewmError(f"{path} holds other files ({others[0]!r}); choose another folder")
            if not exchanged(part, path):
                _replace_folder(part, path)
        sync(path.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step; raises LewmError if it cannot be written."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def try_writing(path: Path) -> None:
    """Try whether `path` can be written, before work is spent on what goes there; nothing stays behind.

    Raises LewmError if it cannot.
    """
    path = path.absolute()
    ground = next(parent for parent in path.parents if os.path.lexists(parent))
    trial = ground / _part_of(path).name
    with explained(path):
        _refuse_special(path)
        if path.is_dir():
            raise explain(IsADirectoryError(errno.EISDIR, ""), path, "written")
        try:
            trial.write_bytes(bytes(1))  # room for a name is not yet room for bytes
            sync(trial)
        except OSError as error:
            raise explain(error, path, "written") from error
        finally:
            with suppress(OSError):
                trial.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, busy: str | None) -> Iterator[bool]:
    """Hold the lock that guards `path` against a second writer, which gets the sentence `busy`, or waits without one.

    The lock file stays behind, unless `path` itself is removed; the kernel frees the lock when its holder dies, so
    that nothing has to be cleaned up after a crash. Where the file system has no locks, `path` is guarded by a file
    that only one process can make; nothing waits there, and False is yielded if others may be writing as well.

    Raises:
        TakenError: another process holds it.
        LewmError: the lock file cannot be written.
    """
    lock = lock_path(path)
    for look in range(LOOKS):
        with explained(path):
            lock.parent.mkdir(parents=True, exist_ok=True)
            try:
                handle = lock.open("a")
            except PermissionError:
                if not lock.exists():
                    raise
                handle = lock.open()  # of another user of the same home
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
            except OSError as error:
                if busy and isinstance(error, BlockingIOError):
                    raise TakenError(busy) from error
                if error.errno not in CANNOT:
                    raise explain(error, path, "locked") from error
                break
            # Whoever held it may have removed the lock file with `path`; the next one would lock another file.
            if _is_at(handle.fileno(), lock) or look == LOOKS - 1:
                yield True
                return
    if busy is None:
        yield False
    else:
        with _marked(path, busy):
            yield True


@contextmanager
def _marked(path: Path, busy: str) -> Iterator[None]:
    """Guard `path` by a file that says who writes it, where locks do not work."""
    mark = _mark_path(path)
    if _is_marked(path):
        raise TakenError(f"{busy} (if it has died, remove {mark}: this file system cannot lock files)")
    with explained(path):
        mark.unlink(missing_ok=True)  # its process has died
        try:
            with mark.open("x", encoding="utf-8") as file:
                file.write(f"{socket.gethostname()} {os.getpid()}")
        except FileExistsError as error:
            raise TakenError(busy) from error
    try:
        yield
    finally:
        with suppress(OSError):
            mark.unlink(missing_ok=True)


def _is_marked(path: Path) -> bool:
    """True while a process writes `path` where locks do not work; of other machines, that cannot be known better."""
    try:
        host, _, process = _mark_path(path).read_text(encoding="utf-8", errors="replace").partition(" ")
    except OSError:
        return False
    if host == socket.gethostname() and process.isdecimal():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return False
        except OSError:  # of another user
            pass
    return True


def _mark_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.writer")


def is_locked(path: Path) -> bool:
    """True while a process writes `path`; works where nothing can be written.

    It shares the lock for a moment: a writer that begins in this very moment is refused.
    """
    try:
        with lock_path(path).open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is no lock, or it cannot be asked
        pass
    return _is_marked(path)


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


def exchanged(first: Path, second: Path) -> bool:
    """Exchange two paths in one step; False if one is not there, or the system cannot."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)  # of Linux, and not in the standard library
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(renameat2 and renameat2(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0)


def _part_of(path: Path) -> Path:
    # Not the number of the process, which may be the same in every container that writes this folder.
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART_SUFFIX}")


def _new_part(path: Path, make: Callable[[Path], None]) -> Path:
    part = _part_of(path)
    with explained(path):
        _refuse_special(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        make(part)
    return part


def _replace_folder(part: Path, path: Path) -> None:
    aside = _part_of(path)
    with suppress(FileNotFoundError):
        path.rename(aside)
    try:
        part.rename(path)
    except BaseException:
        if aside.exists():
            aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _refuse_special(path: Path) -> None:
    """Raises LewmError for a device, a pipe, a socket or /dev/stdout, which a rename would replace by a file."""
    open_file = path.is_symlink() and os.readlink(path).startswith("/proc/")
    if open_file or (path.exists() and not (path.is_file() or path.is_dir())):
        raise LewmError(f"{path} is no regular file, so it is not replaced; name another file")


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power failure, as far as the file system can.

    Raises OSError if what was written to a file may be lost; for a folder nothing, as many systems flush none.
    """
    folder = path.is_dir()
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if not folder and error.errno not in CANNOT:
            raise
