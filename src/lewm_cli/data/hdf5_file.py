"""HDF5 files opened for reading; whatever stands in the way is said in one sentence."""

import errno
import math
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote

import h5py
import hdf5plugin  # noqa: F401  (registers the Blosc filter that released pixels are compressed with)
import numpy as np

from lewm_cli.errors import LewmError, MissingError
from lewm_cli.file_kind import FileKind, look
from lewm_cli.suggestion import command
from lewm_cli.system_errors import explain

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""Errors of file systems that cannot lock, such as some network and USB disks."""

READ_WHOLE = 2**28
"""Bytes of a column that are read whole from any file; more only from files that can hold it."""

PACKED_AT_MOST = 1000
"""Bytes of a column for every byte of its file; a file that claims more is damaged."""

CHUNKS_AT_ONCE, CHUNKS_OF_A_ROW = 2**14, 2**17
"""Chunks that HDF5 is asked for together, and that one row may lie in: it keeps six kilobytes for each as it reads."""

GUIDE = "docs/datasets.md"

MET = 2000
"""Objects that are looked at in a file without `pixels`, to see what it holds."""

_NUMBERED = re.compile(r"(.*?)\d+")

FROM_ROS = (
    "read frames and commands of its topics with the rosbags library, write each frame and the newest command before "
    "it into columns of an HDF5 or npz file, and `lewm import` that"
)

_ADVICE = {
    **dict.fromkeys((FileKind.ROS_BAG, FileKind.MCAP, FileKind.SQLITE), FROM_ROS),
    FileKind.MATLAB: "save it there with -v7.3, which is HDF5",
    **dict.fromkeys((FileKind.SAFETENSORS, FileKind.TORCH, FileKind.PICKLE), "name a recording, not weights"),
}
"""The way from files that are no recordings to one."""


def _import_of(kind: FileKind, path: Path) -> str | None:
    """The sentence with the command that imports a file of this kind, or the folder that it is a part of."""
    match kind:
        case FileKind.VIDEO:
            return f"this imports it with the table of actions beside it: {command('import', path)}"
        case FileKind.NUMPY if zipfile.is_zipfile(path):
            return f"this imports it: {command('import', path)}"
        case FileKind.NUMPY:
            return "write frames, actions and ends of episodes into a file with numpy.savez, and `lewm import` that"
        case FileKind.IMAGE:
            return (
                f"this imports all images of its folder with their table of actions: {command('import', path.parent)}"
            )
        case FileKind.PARQUET:
            whole = next((folder for folder in path.parents if (folder / "meta" / "info.json").is_file()), None)
            of = "the LeRobot data set that it is a part of" if whole else "the videos beside it with their actions"
            return f"this imports {of}: {command('import', whole or path.parent)}"
    return None


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file, and turn errors of the system and of the library into sentences while it is open.

    Raises:
        MissingError: there is no such file.
        LewmError: it is another kind of file, may not be read, is still written to, or is damaged.
    """
    try:
        with open_file(path) as file:
            yield file
    except OSError as error:
        raise unreadable(path, error) from error


@contextmanager
def looked_into(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file of which anything may be damaged, types and links too; errors as of `opened`."""
    with opened(path) as file:
        try:
            yield file
        except (ValueError, TypeError, LookupError, RuntimeError) as error:  # as h5py fails on damaged descriptions
            raise unreadable(path, error) from error


def open_file(path: Path) -> h5py.File:
    """Open an HDF5 file to read it, also where it cannot be locked; raises OSError if that fails."""
    if path.is_fifo():  # opening one waits for somebody who writes
        raise OSError("a pipe")
    try:
        return h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return h5py.File(path, "r", locking=False)


def unreadable(path: Path, error: Exception) -> LewmError:
    """Returns the sentence for a file that cannot be opened, or not be read to the end."""
    if isinstance(error, FileNotFoundError) and not path.is_symlink():
        return MissingError(f"there is no recording {path}; `{command('ls')}` lists what there is")
    if isinstance(error, OSError) and error.errno is not None:
        said = explain(error, path, "read")
        if error.errno != errno.EAGAIN:
            return said
        return LewmError(f"{said}; if no program has, its disk cannot lock files: export HDF5_USE_FILE_LOCKING=FALSE")
    try:
        kind = look(path)
    except OSError as failed:
        return explain(failed, path, "read")
    if kind is not FileKind.HDF5:
        advice = kind.advice or _import_of(kind, path) or _ADVICE.get(kind, f"{GUIDE} describes recordings")
        return LewmError(f"{path} cannot be read as HDF5: it is {kind.value}; {advice}")
    said_by_library = " ".join(str(error).split())
    if "already open for write" in said_by_library:
        file = quote(str(path))
        return LewmError(
            f"{path} is marked as open for writing, by a program that still writes or by one that crashed; close it, "
            "or if none runs, keep a copy and clear the mark with h5clear of hdf5-tools: "
            f"cp {file} {quote(f'{path}.copy')} && h5clear -s {file}"
        )
    cut = re.search(r"eof = (\d+), .*stored_eof = (\d+)", said_by_library)
    if cut:
        there, needed = (f"{int(number):,}" for number in cut.groups())
        why = f"it is cut short, and {there} of its {needed} bytes are there; fetch or copy it again"
    elif "superblock version" in said_by_library:
        here = h5py.version.hdf5_version
        why = f"it is damaged, or written by a newer HDF5 than {here}, which is here (h5repack --high=v110 rewrites it)"
    else:
        why = f"it is damaged ({said_by_library}); fetch or record it again"
    return LewmError(f"{path} cannot be read as HDF5: {why}")


def dataset_at(file: h5py.Group, name: str) -> h5py.Dataset | None:
    """The HDF5 data set of this name, None if there is none with a type that NumPy knows.

    Raises:
        LewmError: it is a link that leads nowhere.
    """
    item = link = None
    with suppress(KeyError, ValueError, RuntimeError, TypeError):
        item = file.get(name)
    if item is None:
        with suppress(KeyError, ValueError, RuntimeError):
            link = file.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise LewmError(
            f"{file.file.filename}: {name} is a link to {link.path} in {link.filename}, which cannot be read; "
            "bring that file, or fetch or record the recording again"
        )
    if isinstance(link, h5py.SoftLink):
        raise LewmError(f"{file.file.filename}: {name} is a link to {link.path}, which is not there; record it again")
    if not isinstance(item, h5py.Dataset) or item.shape is None:
        return None
    try:
        item.dtype  # noqa: B018  (asks for it)
    except (TypeError, ValueError, RuntimeError):
        return None
    return item


def datasets_in(group: h5py.Group, series: bool = False) -> dict[str, h5py.Dataset]:
    """The data sets of a group by path in it, the rank highest first.

    Args:
        series: look into all of the groups that differ in a number, and not only into the first.
    """
    found: dict[str, h5py.Dataset] = {}
    waiting, met = [group], 0
    while waiting and met < MET:
        one, numbered = waiting.pop(0), set()
        for name in one:
            met += 1
            if met >= MET:
                break
            link = one.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):  # others may lead round in a circle
                continue
            kind = one.get(name, getclass=True)
            if kind is h5py.Group:
                alike = _NUMBERED.fullmatch(name)
                if series or alike is None or alike[1] not in numbered:
                    waiting.append(one[name])
                if alike:
                    numbered.add(alike[1])
            elif (item := dataset_at(one, name)) is not None:
                found[item.name.removeprefix(group.name).lstrip("/")] = item
    return dict(sorted(found.items(), key=lambda entry: -entry[1].ndim))


def read_whole(stored: h5py.Dataset) -> np.ndarray:
    """All rows of a data set.

    Raises:
        LewmError: it claims more than its file can hold, or cannot be read.
    """
    return read_rows(stored, slice(None))


def read_rows(stored: h5py.Dataset, rows: slice, place: Callable[[int, int], str] | None = None) -> np.ndarray:
    """A range of rows of a data set; errors are those of `read_whole`, with the rows as `place` names them."""
    start, stop, step = rows.indices(len(stored))
    refuse_vast(stored, len(range(start, stop, step)))
    path = Path(stored.file.filename)
    at_once = step * max(1, CHUNKS_AT_ONCE // _chunks_of_a_row(stored)) * (stored.chunks or (len(stored),))[0]
    try:
        parts = [stored[begin : min(begin + at_once, stop) : step] for begin in range(start, stop, at_once or 1)]
        values: np.ndarray = np.concatenate(parts) if len(parts) > 1 else parts[0] if parts else stored[rows]
    except OSError as error:
        placed = OSError(f"{stored.name.lstrip('/')} in {place(start, stop)}: {error}") if place else error
        raise _named_cause(stored) or unreadable(path, error if error.errno else placed) from error
    except (ValueError, TypeError, LookupError, RuntimeError, MemoryError) as error:  # damaged types, as h5py fails
        raise unreadable(path, error) from error
    return values


def refuse_vast(stored: h5py.Dataset, rows: int) -> None:
    """Refuse rows that would take more memory than their file can hold bytes; raises LewmError."""
    size, path = rows * (stored.nbytes // max(len(stored), 1)), Path(stored.file.filename)
    if size > READ_WHOLE and size > PACKED_AT_MOST * path.stat().st_size:
        raise LewmError(
            f"{path}: {stored.name.lstrip('/')} claims {size:,} bytes, which its file of {path.stat().st_size:,} bytes "
            "cannot hold: it is damaged, or was never written; record it again"
        )
    if (chunks := _chunks_of_a_row(stored)) > CHUNKS_OF_A_ROW:
        raise LewmError(
            f"{path}: one row of {stored.name.lstrip('/')} lies in {chunks:,} chunks, and HDF5 takes gigabytes of "
            "memory to read it; record it again, in chunks of whole rows"
        )


def _chunks_of_a_row(stored: h5py.Dataset) -> int:
    """Chunks that a row is spread over."""
    chunks = stored.chunks or stored.shape
    return math.prod(-(-side // chunk) for side, chunk in zip(stored.shape[1:], chunks[1:], strict=True) if side)


def _named_cause(stored: h5py.Dataset) -> LewmError | None:
    """The sentence for data that lies in other files, or is packed in a way that nothing here unpacks; else None."""
    if stored.is_virtual:
        path = stored.file.filename
        return LewmError(
            f"{path}: {stored.name.lstrip('/')} lies in other files, and one of them is too short or damaged; "
            f"this says which: {command('verify', path)}"
        )
    packing = stored.id.get_create_plist()
    for number, _, _, name in (packing.get_filter(place) for place in range(packing.get_nfilters())):
        if not h5py.h5z.filter_avail(number):
            called = f" ({name.decode(errors='replace')})" if name else ""
            return LewmError(
                f"{stored.file.filename}: {stored.name.lstrip('/')} is packed with HDF5 filter {number}{called}, which "
                "is not here; put its plugin into a folder that HDF5_PLUGIN_PATH names, "
                "or rewrite the file where it was made: h5repack -f GZIP=4 OLD NEW"
            )
    return None


def filters_of(stored: h5py.Dataset) -> list[int]:
    """Numbers of the HDF5 filters that data went through, in this order."""
    made = stored.id.get_create_plist()
    return [made.get_filter(number)[0] for number in range(made.get_nfilters())]


def text_attribute(file: h5py.File, name: str) -> str | None:
    """An attribute of the file as text, also where it is bytes, padded, or an array of one; None if it is no text."""
    value = _attribute(file, name)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.rstrip("\0 ") or None if isinstance(value, str) else None


def texts_attribute(file: h5py.File, name: str) -> tuple[str, ...]:
    """An attribute of the file that is an array of texts; empty if it is none."""
    values = np.atleast_1d(np.asarray(_attribute(file, name), object))
    return tuple(values) if all(isinstance(value, str) for value in values) else ()


def number_attribute(file: h5py.File, name: str) -> int | None:
    """An attribute of the file as a whole number, also where it is text or an array of one; None if it is none."""
    value = _attribute(file, name)
    if isinstance(value, np.integer | int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, np.floating) and value == np.floor(value) and np.isfinite(value):
        return int(value)
    text = text_attribute(file, name)
    return int(text) if text and re.fullmatch(r"-?[0-9]{1,18}", text) else None


def rate_attribute(file: h5py.File, name: str) -> float | None:
    """An attribute of the file as a number above 0, also where it is text or an array of one; None if it is none."""
    value = _attribute(file, name)
    try:
        rate = float(text_attribute(file, name) or value)  # type: ignore[arg-type]  # anything that is none raises
    except (TypeError, ValueError):
        return None
    return rate if 0 < rate < math.inf else None


def _attribute(file: h5py.File, name: str) -> object:
    try:
        value = file.attrs.get(name)
    except (OSError, TypeError, ValueError, LookupError, RuntimeError):  # of a type that NumPy does not know
        return None
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    return value.tobytes() if isinstance(value, np.void) and value.dtype.names is None else value
