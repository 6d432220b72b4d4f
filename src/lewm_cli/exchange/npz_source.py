"""NumPy files (npz) with flat columns: those of OGBench, and others of the same idea."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
import numpy.typing as npt

from lewm_cli.data.hdf5_file import PACKED_AT_MOST, READ_WHOLE
from lewm_cli.data.layouts import color_frames
from lewm_cli.errors import LewmError
from lewm_cli.exchange.column_source import BLOCK, ColumnSource, EpisodeRows, files_of
from lewm_cli.exchange.flat_hdf5 import flat_source
from lewm_cli.exchange.source import Asked, Source
from lewm_cli.file_kind import FileKind, look
from lewm_cli.plural import counted
from lewm_cli.system_errors import explain

SHOWN = 200
"""Letters that are shown of what a library says."""

OGBENCH = {"observations", "actions", "terminals"}
"""Members of its files."""


@dataclass(frozen=True)
class NpzSource(ColumnSource):
    """Columns in npz files, unpacked as far as they are asked for.

    Rows that follow those read last are unpacked on; for others, unpacking starts anew. Episodes that are read in order
    are so unpacked once, however large the member is.
    """

    streams: dict[tuple[Path, str], "_Rows"] = field(default_factory=dict, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"streams": {}}  # another process opens anew

    def values(self, rows: EpisodeRows, path: str, start: int, count: int) -> npt.NDArray[Any]:
        return self._rows(rows.file, path).read(start, count)

    def stored_frames(self, rows: EpisodeRows) -> Iterator[npt.NDArray[Any]]:
        stream = self._rows(rows.file, self.pixels)
        at_once = max(1, BLOCK // max(1, stream.row))
        for start in range(rows.start, rows.start + rows.frames, at_once):
            yield from stream.read(start, min(at_once, rows.start + rows.frames - start))

    def _rows(self, file: Path, member: str) -> "_Rows":
        if (file, member) not in self.streams:
            if any(other != file for other, _ in self.streams):
                self.streams.clear()  # a folder may have more files than can be open
            self.streams[file, member] = _Rows(file, member)
        return self.streams[file, member]


class _Rows:
    """Rows of a member of an npz file, which is unpacked forward."""

    def __init__(self, path: Path, member: str) -> None:
        self.path, self.member = path, member
        with _said(path, member):
            self.stream: IO[bytes] = zipfile.ZipFile(path).open(f"{member}.npy")  # noqa: SIM115  (read on later)
            version = np.lib.format.read_magic(self.stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            self.shape, turned, self.kind = read(self.stream)
            self.begin = self.stream.tell()
        self.row = self.kind.itemsize * math.prod(self.shape[1:])
        if turned and len(self.shape) > 1:
            raise LewmError(
                f"{path}: {member} is stored in the order of Fortran, column by column; write it again with "
                "numpy.ascontiguousarray"
            )

    def refuse_vast(self, rows: int) -> None:
        """Refuse rows that would take more memory than their file can hold bytes; raises LewmError."""
        size, packed = rows * self.row, self.path.stat().st_size
        if size > READ_WHOLE and (size > PACKED_AT_MOST * packed or rows == 1):
            raise LewmError(
                f"{self.path}: {self.member} claims {size:,} bytes, more than {counted(rows, 'row')} in a file of "
                f"{packed:,} can have: it is damaged; record it again"
            )

    def read(self, start: int, count: int) -> npt.NDArray[Any]:
        """Unpack rows; those that are there, where these are fewer."""
        rows = max(0, min(count, self.shape[0] - start))
        self.refuse_vast(rows)
        with _said(self.path, self.member):
            self.stream.seek(self.begin + start * self.row)
            content = self.stream.read(rows * self.row)
            if len(content) < rows * self.row:
                raise EOFError("it is cut short")
            return np.frombuffer(content, self.kind).reshape(rows, *self.shape[1:])


@contextmanager
def _said(path: Path, member: str = "") -> Iterator[None]:
    """Turn what goes wrong while an npz file is read into a sentence.

    Raises:
        LewmError: it is damaged, or holds something else than arrays.
    """
    try:
        yield
    except LewmError:
        raise
    except OSError as error:
        raise explain(error, path, "read") from error
    except Exception as error:  # what damaged archives and headers lead to
        inside = f", {member}," if member else ""
        packing = "what is packed is damaged"
        why = packing if isinstance(error, zlib.error) else " ".join(str(error).split())[:SHOWN]
        raise LewmError(f"{path}{inside} cannot be read as npz ({why}); copy it, or write it again") from error


def open_npz(path: Path, name: str, asked: Asked) -> Source | None:
    """Open an npz file, or a folder of them, with frames; None if it is something else."""
    files = files_of(path, _is_archive)
    if not files:
        return None
    with _described(files[0]) as file:
        if path.is_dir() and "pixels" not in asked.map and not color_frames(file):
            return None  # actions beside frames of another kind
        ogbench = set(file) >= OGBENCH and not asked.map
    kind = "OGBench" if ogbench else "npz with flat columns"
    source = flat_source(NpzSource, kind, files, name, asked, _described)
    if not ogbench:
        return source
    note = "the last action of every episode means nothing in OGBench's files, and is taken as unknown (NaN)"
    return replace(source, last_action=False, notes=(*source.notes, note))


def _is_archive(path: Path) -> bool:
    """Tell an npz file, cut short or not, from others; raises OSError."""
    if look(path) is not FileKind.NUMPY:
        return False
    with path.open("rb") as file:
        return file.read(2) == b"PK"


@contextmanager
def _described(path: Path) -> Iterator[h5py.File]:
    """Describe an npz file by an HDF5 file in memory: the same columns, of most with their first row alone."""
    with _said(path), zipfile.ZipFile(path) as archive:
        members = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    with h5py.File(str(path), "w", driver="core", backing_store=False) as file:
        for member in members:
            rows = _Rows(path, member)
            if rows.kind.kind not in "fiubSV" or rows.kind.names or 0 in rows.shape or not rows.shape:
                continue
            # Episodes are told by single numbers; of frames, the first says all.
            whole = math.prod(rows.shape) == max(rows.shape)
            rows.refuse_vast(rows.shape[0] if whole else 1)
            with _said(path, member):
                stored = file.create_dataset(
                    member, rows.shape, rows.kind, chunks=None if whole else (1, *rows.shape[1:])
                )
                count = rows.shape[0] if whole else 1
                stored[:count] = rows.read(0, count)
        yield file
