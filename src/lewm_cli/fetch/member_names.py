"""Checks names from an archive: only those that mean one file on every system, inside the folder, and no other's."""

import unicodedata
from pathlib import PurePosixPath

from lewm_cli.fetch.archive_errors import RefusedError, quoted

COMPONENT_BYTES = 255
NAME_BYTES = 512
MAX_DEPTH = 8


def member_path(name: str) -> PurePosixPath:
    """Returns the path that a member's name means, relative to the folder; `.` for the folder itself.

    Raises:
        RefusedError: the name leads elsewhere, or could mean different files to different readers.
    """
    parts = name.removesuffix("/").split("/")
    if parts[0] == ".":
        del parts[0]  # `tar -c .` begins all names so
    sizes = [len(part.encode("utf-8", "surrogateescape")) for part in (name, *parts)]
    faults = {
        "is empty": not name,
        "is an absolute path": name.startswith("/"),
        "leads out of the folder": ".." in parts,
        "has control or undecodable characters": not name.isprintable(),
        "has a backslash": "\\" in name,
        "has empty or '.' folders in it": any(part in ("", ".") for part in parts),
        "is too long": sizes[0] > NAME_BYTES or max(sizes[1:], default=0) > COMPONENT_BYTES,
        f"is more than {MAX_DEPTH} folders deep": len(parts) > MAX_DEPTH,
    }
    for fault, found in faults.items():
        if found:
            raise RefusedError(f"the name of its member {quoted(name)} {fault}")
    return PurePosixPath(*parts)


class MemberNames:
    """The paths of one archive, none of which is another one's file on any file system."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, bool]] = {}

    def add(self, path: PurePosixPath, is_folder: bool) -> None:
        """Remembers a path, and the folders above it; a folder may come again.

        Raises:
            RefusedError: another member has this path, or one that some file systems take for the same.
        """
        for name, folder in (*((str(above), True) for above in path.parents), (str(path), is_folder)):
            key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
            if key not in self._seen:
                self._seen[key] = name, folder
                continue
            seen, was_folder = self._seen[key]
            if seen != name:
                raise RefusedError(f"it holds {quoted(seen)} and {quoted(name)}, one name where case is ignored")
            if folder != was_folder:
                raise RefusedError(f"it holds {quoted(name)} as a folder and as a file")
            if not folder:
                raise RefusedError(f"it holds {quoted(name)} twice")


def plain_name(name: str) -> str:
    """Replaces the letters of a file name that `member_path` would refuse."""
    return "".join(letter if letter.isprintable() and letter != "\\" else "_" for letter in name)
