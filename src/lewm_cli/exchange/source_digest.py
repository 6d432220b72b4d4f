"""The digest of a source: which files were read, and what was in them."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from lewm_cli.system_errors import explained
from lewm_cli.workers import Waiting

AT_ONCE = 2**22
"""Bytes that are read at a time."""


def stamps(files: tuple[Path, ...]) -> list[list[str | int]]:
    """The names of files, their bytes, and when each was changed, in nanoseconds; raises LewmError if one has gone."""
    found: list[list[str | int]] = []
    for name, path in _named(files):
        with explained(path, "read"):
            there = path.stat()
        found.append([name, there.st_size, there.st_mtime_ns])
    return found


def source_digest(files: tuple[Path, ...], advance: Callable[[int], None], waiting: Waiting) -> str:
    """The SHA-256 of what `sha256sum` prints of files, sorted by name, in the folder that holds them all.

    Args:
        advance: called with the number of bytes read since the last call.
        waiting: called now and then; what it raises ends it.

    Raises:
        LewmError: a file cannot be read.
    """
    whole = hashlib.sha256()
    for name, path in _named(files):
        digest = hashlib.sha256()
        with explained(path, "read"), path.open("rb", buffering=0) as file:
            while content := file.read(AT_ONCE):
                digest.update(content)
                advance(len(content))
                waiting()
        whole.update(f"{digest.hexdigest()}  {name}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _named(files: tuple[Path, ...]) -> list[tuple[str, Path]]:
    """Files with their names in the folder that holds them all, sorted by these."""
    folder = os.path.commonpath([path.absolute().parent for path in files])
    return sorted((path.absolute().relative_to(folder).as_posix(), path) for path in files)
