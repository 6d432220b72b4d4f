"""Names from an archive: only those that mean the same file on every system, inside the folder, and no other's."""

import unicodedata
from pathlib import PurePosixPath

from lewm_cli.fetch.unpack.faults import Refusal, quoted

COMPONENT_BYTES = 255
NAME_BYTES = 512
MAX_DEPTH = 8
MAX_ENTRIES = 1024
"""Members of one archive. Published ones hold a handful, and all their names are remembered."""


def checked(raw: bytes) -> PurePosixPath:
    """The path that a member's name means, relative to the folder; `.` for the folder itself.

    Raises:
        Refusal: the name leads elsewhere, or could mean different files to different readers.
    """
    name = raw.decode("utf-8", "surrogateescape")
    parts = name.removesuffix("/").split("/")
    if parts[0] == ".":
        del parts[0]  # `tar -c .` begins all names so
    if not name:
        raise Refusal("a member has no name")
    if name.startswith("/"):
        raise Refusal(f"the name of its member {quoted(name)} is an absolute path")
    if ".." in parts:
        raise Refusal(f"the name of its member {quoted(name)} leads out of the folder")
    if not name.isprintable():
        raise Refusal(f"the name of its member {quoted(name)} has control or undecodable characters")
    if "\\" in name:
        raise Refusal(f"the name of its member {quoted(name)} has a backslash")
    if any(part in ("", ".") for part in parts):
        raise Refusal(f"the name of its member {quoted(name)} has empty or '.' folders in it")
    if len(raw) > NAME_BYTES or any(len(part.encode()) > COMPONENT_BYTES for part in parts):
        raise Refusal(f"the name of its member {quoted(name)} is too long")
    if len(parts) > MAX_DEPTH:
        raise Refusal(f"its member {quoted(name)} lies {len(parts)} folders deep, and at most {MAX_DEPTH} are allowed")
    return PurePosixPath(*parts)


class Names:
    """The paths of one archive, none of which is another one's file on any file system."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, bool]] = {}

    def add(self, path: PurePosixPath, is_folder: bool) -> None:
        """Remember a path, and the folders above it; a folder may come again.

        Raises:
            Refusal: another member has this path, or one that some file systems take for the same.
        """
        for above in path.parents:
            self._add(str(above), is_folder=True)
        self._add(str(path), is_folder)

    def _add(self, name: str, is_folder: bool) -> None:
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        if key not in self._seen:
            self._seen[key] = name, is_folder
            return
        seen, was_folder = self._seen[key]
        if seen != name:
            raise Refusal(f"it holds {quoted(seen)} and {quoted(name)}, one name to file systems that ignore case")
        if is_folder != was_folder:
            raise Refusal(f"it holds {quoted(name)} as a folder and as a file")
        if not is_folder:
            raise Refusal(f"it holds {quoted(name)} twice")
