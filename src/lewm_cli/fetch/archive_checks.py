"""Judges what was downloaded, hostile until proven otherwise: its first bytes, the names in it, its HDF5 links."""

import tarfile
import unicodedata
from pathlib import Path, PurePosixPath
from typing import Literal

import h5py
import hdf5plugin  # noqa: F401  (registers the Blosc filter that released pixels are compressed with)

from lewm_cli.file_kind import FileKind, look_at

READABLE = "only .tar.zst, .tar, .zst and HDF5 files are unpacked here"

UNPACKED: dict[FileKind, Literal["zstd", "tar", "HDF5"]] = {
    FileKind.ZSTD: "zstd",
    FileKind.TAR: "tar",
    FileKind.ZEROS: "tar",  # an empty one
    FileKind.HDF5: "HDF5",
}

COMPONENT_BYTES, NAME_BYTES, MAX_DEPTH = 255, 512, 8
MAX_LINKS, MAX_LINK_CHARACTERS = 10_000, 1 << 20
"""Names in one HDF5 file, of which recordings have some twenty, and characters in them with the groups above them."""


class RefusedError(Exception):
    """The archive is whole for all we know, but holds what is not unpacked here; `advice` says what to do about it."""

    outcome = "was not unpacked, and nothing of it was kept"

    def __init__(self, reason: str, advice: str = "download it from where it was published, or do without it") -> None:
        super().__init__(reason)
        self.advice = advice


class DamagedError(RefusedError):
    """The archive is not what was published: cut short, altered, or never whole."""

    outcome = "cannot be unpacked"

    def __init__(self, reason: str) -> None:
        super().__init__(reason, "remove it and fetch it again")


def quoted(name: str) -> str:
    """Quotes a name from an archive so that a terminal obeys nothing in it, and not too long."""
    shown = ascii(name) if not name.isprintable() else repr(name)
    return shown if len(shown) <= 80 else f"{shown[:80]}...{shown[0]}"


def gigabytes(count: int) -> str:
    """Writes a number of bytes for people."""
    return f"{count:,} bytes" if count < 1e8 else f"{count / 1e9:,.1f} GB"


def recognize(head: bytes) -> Literal["zstd", "tar", "HDF5"]:
    """Recognizes what begins with these bytes, 512 of them unless it has fewer, or refuses it.

    Never by its name: a web page that was downloaded has the right name too.
    """
    kind = look_at(head[: tarfile.BLOCKSIZE])
    if kind in UNPACKED:
        return UNPACKED[kind]
    if kind in (FileKind.EMPTY, FileKind.WEB_PAGE, FileKind.XML):
        raise DamagedError(f"it is {kind.value}")
    begins = f" (it begins with {head[:8].hex(' ')})" if kind is FileKind.UNKNOWN else ""
    raise RefusedError(f"it is {kind.value}{begins}, and {READABLE}", "unpack it by hand, should it hold a dataset")


def member_path(name: str) -> PurePosixPath:
    """Returns the path that a member's name means, relative to the folder; `.` for the folder itself.

    Refuses a name that leads elsewhere, or could mean different files to different readers.
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


def plain_name(name: str) -> str:
    """Replaces the letters of a file name that `member_path` would refuse."""
    return "".join(letter if letter.isprintable() and letter != "\\" else "_" for letter in name)


def remember_name(seen: dict[str, tuple[str, bool]], path: PurePosixPath, is_folder: bool) -> None:
    """Adds a path, and the folders above it, to those of an archive; a folder may come again.

    Refuses a path that another member has, or one that some file systems take for the same.
    """
    for name, folder in (*((str(above), True) for above in path.parents), (str(path), is_folder)):
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        if key not in seen:
            seen[key] = name, folder
            continue
        before, was_folder = seen[key]
        if before != name:
            raise RefusedError(f"it holds {quoted(before)} and {quoted(name)}, one name where case is ignored")
        if folder != was_folder:
            raise RefusedError(f"it holds {quoted(name)} as a folder and as a file")
        if not folder:
            raise RefusedError(f"it holds {quoted(name)} twice")


def check_stands_alone(path: Path, name: str) -> None:
    """Refuses a file that is HDF5 and damaged, or names another file, which reading it would read, or nothing."""
    if not h5py.is_hdf5(path):
        return
    try:
        with h5py.File(path, "r", locking=False) as file:  # nobody else knows it yet
            fault = _fault(file)
    except (OSError, RuntimeError, ValueError, LookupError, TypeError) as error:  # what h5py makes of damage
        raise DamagedError(f"{name} in it is damaged HDF5 ({' '.join(str(error).split())})") from error
    if fault:
        raise RefusedError(f"{name} in it {fault}, and a dataset must stand alone")


def _fault(file: h5py.File) -> str | None:
    links: list[tuple[bytes, int]] = []
    characters = 0

    def remember(link: bytes, info: h5py.h5l.LinkInfo) -> bool | None:  # nothing that can fail: h5py does not expect it
        nonlocal characters
        links.append((link, info.type))
        characters += len(link)
        return True if len(links) > MAX_LINKS or characters > MAX_LINK_CHARACTERS else None

    if file.id.links.visit(remember, info=True):
        return f"holds more than {MAX_LINKS:,} objects, or endless names"
    # Soft links come last: to follow one may be to follow an external one that it leads through.
    links.sort(key=lambda found: found[1] == h5py.h5l.TYPE_SOFT)
    return next(filter(None, (_link_fault(file, link, kind) for link, kind in links)), None)


def _link_fault(file: h5py.File, link: bytes, kind: int) -> str | None:
    name = quoted(_text(link))
    if kind == h5py.h5l.TYPE_EXTERNAL:
        target, _ = file.id.links.get_val(link)
        return f"takes {name} from the file {quoted(_text(target))}"
    if kind == h5py.h5l.TYPE_SOFT:
        try:
            h5py.h5o.open(file.id, link)
        except (KeyError, OSError, RuntimeError):  # nothing there, or round and round
            return f"has the link {name} that leads nowhere"
        return None
    if kind != h5py.h5l.TYPE_HARD:
        return f"has the link {name} of an unknown kind"
    dataset = h5py.h5o.open(file.id, link)
    if not isinstance(dataset, h5py.h5d.DatasetID):
        return None
    creation = dataset.get_create_plist()
    if creation.get_external_count():
        other, *_ = creation.get_external(0)
        return f"keeps the values of {name} in the file {quoted(_text(other))}"
    if creation.get_layout() == h5py.h5d.VIRTUAL:
        for source in range(creation.get_virtual_count()):
            other = creation.get_virtual_filename(source)
            if other != ".":  # the same file
                return f"takes the values of {name} from the file {quoted(other)}"
    return None


def _text(raw: bytes | str) -> str:
    return raw.decode("utf-8", "surrogateescape") if isinstance(raw, bytes) else raw
