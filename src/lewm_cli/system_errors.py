"""Errors of the operating system about files, as sentences with the likely cause."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lewm_cli.errors import LewmError

_ELSEWHERE = "choose a folder that can be written (for what goes into the home: --home or $LEWM_WRITE_HOME)"

CAUSES = {
    errno.ENOSPC: "the disk is full; free some space or choose another disk with --home",
    errno.EDQUOT: "your quota of this disk is used up; free some space or choose another disk with --home",
    errno.EROFS: f"it lies on a disk that is mounted read-only; {_ELSEWHERE}",
    errno.EACCES: "you may not; ask its owner, or choose another folder",
    errno.EPERM: "you may not; ask its owner, or choose another folder",
    errno.ENOENT: "it is not there; check the path",
    errno.ENOTDIR: "a part of its path is a file, not a folder; check the path",
    errno.EISDIR: "it is a folder; name a file",
    errno.EEXIST: "something of that name is there already; choose another name",
    errno.ENOTEMPTY: "other files are in it; choose another folder",
    errno.EXDEV: "its folder is spread over two disks; choose another folder",
    errno.ENAMETOOLONG: "its name is too long for this file system, which takes 255 bytes; choose a shorter one",
    errno.ELOOP: "its links lead round in a circle; name the file itself",
    errno.EIO: "the disk or the network failed; look at the disk, and try again",
    errno.ESTALE: "the network file system has lost it; mount it again, and try again",
    errno.ETIMEDOUT: "the network file system does not answer; try again later",
    errno.EAGAIN: "another program has it open for writing; close it there, or wait until it is done",
    errno.EBUSY: "another program uses it, or a disk is mounted on it; close it there, or choose another folder",
    errno.ETXTBSY: "another program uses it; close it there, or wait until it is done",
    errno.EINTR: "a signal came between; try again",
    errno.ENOLCK: "this file system cannot lock files; export HDF5_USE_FILE_LOCKING=FALSE",
    errno.EMFILE: "too many files are open; raise the limit with: ulimit -n 4096",
    errno.ENFILE: "too many files are open on this machine; close some programs",
    errno.EFBIG: "it is larger than this file system takes; choose another disk",
    errno.ENOMEM: "this machine is out of memory; close some programs",
    errno.EINVAL: "this file system cannot do what was asked; choose another name or folder",
    errno.ENOTSUP: "this file system cannot do what was asked; choose another folder",
    errno.ENOSYS: "this file system cannot do what was asked; choose another folder",
}
"""The likely cause of an error number, and what to do about it."""

WRITING = {
    errno.EACCES: f"you may not write there; {_ELSEWHERE}",
    errno.EPERM: f"you may not write there; {_ELSEWHERE}",
    errno.ENOENT: f"its folder has gone; {_ELSEWHERE}",
    errno.ENOTDIR: f"a part of its path is a file, not a folder; {_ELSEWHERE}",
    errno.EEXIST: f"something else is in the place of its folder; {_ELSEWHERE}",
}
"""The same for what is written, where that is something else."""

NO_NUMBER = {
    "failed to map segment from shared object": errno.ENOMEM,
    "cannot allocate memory in static TLS block": errno.ENOMEM,
    "can't start new thread": errno.EAGAIN,
}
"""Errors that the loader of libraries and Python tell in words, without their number."""

_NUMBER = re.compile(r"(?:errno|os error)\W{1,3}(\d+)", re.IGNORECASE)


def number_of(error: BaseException) -> int | None:
    """The error number of the system behind an error; HDF5, torch and safetensors put it into texts of their own."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    text = str(error)
    if found := _NUMBER.search(text):
        return int(found[1])
    for words, number in NO_NUMBER.items():
        if words in text:
            return number
    # What else other errors say in these words may not be about files.
    known = CAUSES if isinstance(error, OSError) else (errno.ENOSPC, errno.EDQUOT)
    return next((number for number in known if os.strerror(number) in text), None)


def explain(error: BaseException, path: str | Path | None = None, doing: str = "used") -> LewmError:
    """Returns an error of the system as a sentence: the path, what the system says, the likely cause and what to do.

    Args:
        path: what was tried; the file that the error names if not given.
        doing: "read", "written", ...
    """
    number, what = number_of(error), path or _named(error)
    said = os.strerror(number) if number else str(error) or type(error).__name__
    cause = CAUSES.get(number or 0, "the system said no more")
    if doing == "written":
        cause = WRITING.get(number or 0, cause)
    if what:
        if number in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST):
            obstacle = in_the_way(Path(what))
            cause = f"{obstacle}; {_ELSEWHERE if doing == 'written' else 'check the path'}" if obstacle else cause
        return LewmError(f"{what} cannot be {doing} ({said}): {cause}")
    if isinstance(error, OSError) and error.strerror and error.strerror != said:
        said += f": {error.strerror}"
    if number == errno.ENOENT and not _working_folder_is_there():
        return LewmError("the folder that this was started in has been removed; change into another one, like: cd ~")
    if number == errno.ENOENT and "temporary directory" in said:
        cause = "make room there, or name a folder that can be written: export TMPDIR=FOLDER"
    if number == errno.EAGAIN:  # of files, only one that is named
        cause = "no more processes may be started; close some programs, or raise the limit with: ulimit -u"
    return LewmError(f"the system refused what was asked ({said}): {cause}")


@contextmanager
def explained(path: Path, doing: str = "written") -> Iterator[None]:
    """Raise LewmError for whatever the system says about `path`, which is being written.

    An error that names another file passes, and so does one that is not about files.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = number_of(error)
        # torch fails again while it closes the archive, with another message.
        behind = error if number or error.__context__ is None else error.__context__
        if number_of(behind) not in CAUSES:
            raise
        if not _is_about(path, behind):
            if behind is error:
                raise
            raise explain(behind) from error
        raise explain(behind, path, doing) from error


@contextmanager
def printing() -> Iterator[None]:
    """Explain why a result cannot be printed; that its reader has gone (BrokenPipeError) is no failure of ours."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise explain(error, "the result", "printed") from error


def _is_about(path: Path, error: BaseException) -> bool:
    """Tell whether an error is about this file, its folders or the hidden files beside it; else it names another."""
    number, named = number_of(error), [_named(error), _named(error, "filename2")]
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # a copy without room names its source
        return True
    if named == [None, None]:
        return number != errno.EAGAIN  # else a process could not be started
    places = [place for name in named if name for place in (Path(name), Path(name).parent)]
    hidden = (place.parent == path.parent and place.name.startswith(f".{path.name}.") for place in places)
    return any(hidden) or any(path.is_relative_to(place) for place in places[::2])


def _named(error: BaseException, which: str = "filename") -> str | None:
    named = getattr(error, which, None)
    return os.fsdecode(named) if isinstance(named, str | bytes | os.PathLike) else None  # or a number, or nothing


def in_the_way(path: Path) -> str | None:
    """Says what on the way to a path is no folder, or that the path itself is a link that leads nowhere."""
    for place in (path, *path.parents):
        if os.path.islink(place) and not os.path.exists(place):
            return f"{place} is a link that leads nowhere (to {os.readlink(place)})"
        if place != path and os.path.exists(place) and not os.path.isdir(place):
            return f"{place} is a file, not a folder"
    return None


def _working_folder_is_there() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True
