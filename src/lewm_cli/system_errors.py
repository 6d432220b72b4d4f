"""Errors of the operating system about files, as sentences with the likely cause."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lewm_cli.errors import LewmError

CAUSES = {
    errno.ENOSPC: "the disk is full; free some space or choose another disk with --home",
    errno.EDQUOT: "your quota of this disk is used up; free some space or choose another disk with --home",
    errno.EROFS: "it lies on a disk that is mounted read-only; choose another folder",
    errno.EACCES: "you may not; ask its owner, or choose another folder",
    errno.EPERM: "you may not; ask its owner, or choose another folder",
    errno.ENOENT: "it is not there; check the path",
    errno.ENOTDIR: "a part of its path is a file, not a folder; check the path",
    errno.EISDIR: "it is a folder; name a file",
    errno.EEXIST: "something of that name is there already; choose another name",
    errno.ENAMETOOLONG: "its name is too long for this file system, which takes 255 bytes; choose a shorter one",
    errno.ELOOP: "its links lead round in a circle; name the file itself",
    errno.EIO: "the disk or the network failed; look at the disk, and try again",
    errno.ESTALE: "the network file system has lost it; mount it again, and try again",
    errno.ETIMEDOUT: "the network file system does not answer; try again later",
    errno.EAGAIN: "another program has it open for writing; close it there, or wait until it is done",
    errno.EBUSY: "another program uses it; close it there, or wait until it is done",
    errno.ENOLCK: "this file system cannot lock files; export HDF5_USE_FILE_LOCKING=FALSE",
    errno.EMFILE: "too many files are open; raise the limit with: ulimit -n 4096",
    errno.ENFILE: "too many files are open on this machine; close some programs",
    errno.EFBIG: "it is larger than this file system takes; choose another disk",
    errno.ENOMEM: "this machine is out of memory",
    errno.EINVAL: "this file system cannot do what was asked; choose another folder",
    errno.ENOTSUP: "this file system cannot do what was asked; choose another folder",
    errno.ENOSYS: "this file system cannot do what was asked; choose another folder",
}
"""The likely cause of an error number, and what to do about it."""


def explain(error: OSError, path: str | Path | None = None, doing: str = "used") -> LewmError:
    """Returns the error as a sentence: the path, what the system says, the likely cause and what to do.

    Args:
        path: what was tried; the file that the error names if not given.
        doing: "read", "written", ...
    """
    what = path or error.filename or "a file"
    said = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
    cause = CAUSES.get(error.errno or 0, "the system said no more")
    return LewmError(f"{what} cannot be {doing} ({said}): {cause}")


@contextmanager
def printing() -> Iterator[None]:
    """Explain why a result cannot be printed; that its reader has gone (BrokenPipeError) is no failure of ours."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise explain(error, "the result", "printed") from error
