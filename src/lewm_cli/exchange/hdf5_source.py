"""Sources that keep their columns in HDF5 files."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from lewm_cli.data.frame_format import FrameFormat
from lewm_cli.data.hdf5_file import dataset_at, looked_into, read_rows
from lewm_cli.data.pixel_format import decode_image
from lewm_cli.data.unwritten import Gap, find_gaps
from lewm_cli.errors import LewmError
from lewm_cli.exchange.column_source import BLOCK, ColumnSource, EpisodeRows, files_of
from lewm_cli.file_kind import FileKind, look


@dataclass(frozen=True)
class HDF5Source(ColumnSource):
    """Columns in HDF5 files, opened for every read."""

    def values(self, rows: EpisodeRows, path: str, start: int, count: int) -> npt.NDArray[Any]:
        with looked_into(rows.file) as file:
            return read_rows(_column(file, rows, path), slice(start, start + count))

    def stored_frames(self, rows: EpisodeRows) -> Iterator[npt.NDArray[Any]]:
        with looked_into(rows.file) as file:
            stored = _column(file, rows, self.pixels)
            chunk = (stored.chunks or (1,))[0]
            at_once = max(1, BLOCK // max(1, stored.nbytes // max(1, len(stored))) // chunk) * chunk
            place, stop = rows.start, rows.start + rows.frames
            while place < stop:
                end = min(stop, (place // chunk) * chunk + at_once)  # whole chunks, which are unpacked once
                yield from read_rows(stored, slice(place, end))
                place = end


def refuse_elsewhere(file: h5py.File) -> None:
    """Refuse links to other files and values that lie there: a source is what its digest is of, and nothing else.

    Raises:
        LewmError: a part of it lies in another file.
    """

    def lies_elsewhere(name: bytes, link: h5py.h5l.LinkInfo) -> bytes | None:
        if link.type == h5py.h5l.TYPE_EXTERNAL:
            return name
        one = None
        with suppress(KeyError, RuntimeError, ValueError):  # whoever reads it says that it is damaged
            one = h5py.h5o.open(file.id, name) if link.type == h5py.h5l.TYPE_HARD else None
        if not isinstance(one, h5py.h5d.DatasetID):
            return None
        made = one.get_create_plist()
        parts = made.get_virtual_count() if made.get_layout() == h5py.h5d.VIRTUAL else 0
        others = any(made.get_virtual_filename(part) != "." for part in range(parts))
        return name if others or made.get_external_count() else None

    if (found := file.id.links.visit(lies_elsewhere, info=True)) is not None:
        raise LewmError(
            f"{file.filename}: {found.decode('utf-8', 'replace')} lies in another file, and only the source itself is "
            "read; import that file, or copy its values into this one"
        )


def _column(file: h5py.File, rows: EpisodeRows, path: str) -> h5py.Dataset:
    stored = dataset_at(file, f"{rows.group}/{path}")
    if stored is None:
        raise LewmError(f"{rows.file}: {rows.group}/{path} is damaged, or has gone; fetch or record it again")
    return stored


def with_gaps_as_faults(source: HDF5Source) -> HDF5Source:
    """Mark episodes of which frames or actions were never written; HDF5 would give black frames and 0 for them.

    Raises:
        LewmError: a file is damaged.
    """
    marked: list[EpisodeRows] = []
    for path, of_file in groupby(source.rows, lambda rows: rows.file):
        episodes = list(of_file)
        if all(rows.fault for rows in episodes):  # it may be that the file cannot be opened
            marked += episodes
            continue
        with looked_into(path) as file:
            for _, of_group in groupby(episodes, lambda rows: (rows.group, bool(rows.fault))):
                alike = list(of_group)
                columns = () if alike[0].fault else (source.pixels, *source.action)
                found = {column: list(find_gaps(_column(file, alike[0], column))) for column in columns}
                marked += [replace(rows, fault=rows.fault or _gap(rows, source.pixels, found)) for rows in alike]
    return replace(source, rows=tuple(marked))


def _gap(rows: EpisodeRows, pixels: str, found: dict[str, list[Gap]]) -> str:
    """The first gap that an episode has, in words; empty if it has none."""
    for column, gaps in found.items():
        start, count = (rows.start, rows.frames) if column == pixels else (rows.action_start, rows.actions)
        for gap in gaps:
            if gap.start < start + count and start < gap.stop:
                return f"rows {gap} of {f'{rows.group}/{column}'.lstrip('/')} in {rows.file} {gap.why}"
    return ""


def hdf5_files(path: Path) -> tuple[Path, ...]:
    """The file itself, or the HDF5 files of a folder in order; none if it is another kind; raises OSError."""
    return files_of(path, lambda place: look(place) is FileKind.HDF5)


def frame_size(stored: h5py.Dataset) -> str:
    """The size of stored frames in words: `640 x 480`.

    Raises:
        LewmError: they are image files, and the first cannot be read.
    """
    shape = stored.shape[1:]
    if is_encoded(stored):
        (row,) = read_rows(stored, slice(0, 1))
        shape = decode_image(bytes(row), f"{stored.file.filename}: row 0 of {stored.name}").shape
    format = FrameFormat.of_shape(shape)
    return f"{format.width} x {format.height}" if format else " x ".join(map(str, shape))


def is_encoded(stored: h5py.Dataset) -> bool:
    """Tell whether rows of what holds frames are image files."""
    return stored.ndim <= 2 or stored.dtype.kind in "SVO"


def width_of(stored: h5py.Dataset) -> int:
    """Numbers in a row."""
    return int(np.prod(stored.shape[1:], dtype=np.int64))


def is_table(stored: h5py.Dataset) -> bool:
    """Tell whether it is one number or one row of numbers at a time."""
    return stored.dtype.kind in "fiub" and stored.ndim > 0 and width_of(stored) == max(stored.shape[1:], default=1) > 0
