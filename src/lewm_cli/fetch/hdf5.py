"""Checks that an HDF5 file stands alone: it can name other files, and reading it then reads those."""

from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (registers the Blosc filter that released pixels are compressed with)

from lewm_cli.fetch.archive_errors import DamagedError, RefusedError, quoted

MAX_LINKS = 10_000
"""Names in one file; recordings have some twenty."""

MAX_CHARACTERS = 1 << 20
"""In the names of one file, with the groups above them."""

SAME_FILE = "."


def check_stands_alone(path: Path, name: str) -> None:
    """Checks all links and where every dataset keeps its values, without reading any.

    Args:
        path: any file; only HDF5 is looked into.
        name: what it is called in errors.

    Raises:
        DamagedError: it says that it is HDF5 but cannot be read.
        RefusedError: it refers to another file, or to nothing.
    """
    if not h5py.is_hdf5(path):
        return
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
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
        return True if len(links) > MAX_LINKS or characters > MAX_CHARACTERS else None

    if file.id.links.visit(remember, info=True):
        return f"holds more than {MAX_LINKS:,} objects, or endless names"
    # Soft links come last: to follow one may be to follow an external one that it leads through.
    for link, kind in sorted(links, key=lambda found: found[1] == h5py.h5l.TYPE_SOFT):
        if fault := _link_fault(file, link, kind):
            return fault
    return None


def _link_fault(file: h5py.File, link: bytes, kind: int) -> str | None:
    name = quoted(_text(link))
    if kind == h5py.h5l.TYPE_EXTERNAL:
        target, _ = file.id.links.get_val(link)
        return f"takes {name} from the file {quoted(_text(target))}"
    if kind == h5py.h5l.TYPE_SOFT:
        return None if _leads_somewhere(file, link) else f"has the link {name} that leads nowhere"
    if kind != h5py.h5l.TYPE_HARD:
        return f"has the link {name} of an unknown kind"
    found = h5py.h5o.open(file.id, link)
    return _storage_fault(name, found) if isinstance(found, h5py.h5d.DatasetID) else None


def _leads_somewhere(file: h5py.File, link: bytes) -> bool:
    try:
        h5py.h5o.open(file.id, link)
    except (KeyError, OSError, RuntimeError):  # nothing there, or round and round
        return False
    return True


def _storage_fault(name: str, dataset: h5py.h5d.DatasetID) -> str | None:
    creation = dataset.get_create_plist()
    if creation.get_external_count():
        other, *_ = creation.get_external(0)
        return f"keeps the values of {name} in the file {quoted(_text(other))}"
    if creation.get_layout() == h5py.h5d.VIRTUAL:
        for source in range(creation.get_virtual_count()):
            other = creation.get_virtual_filename(source)
            if other != SAME_FILE:
                return f"takes the values of {name} from the file {quoted(other)}"
    return None


def _text(raw: bytes | str) -> str:
    return raw.decode("utf-8", "surrogateescape") if isinstance(raw, bytes) else raw
