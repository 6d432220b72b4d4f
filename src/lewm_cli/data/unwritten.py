"""Finds rows of an HDF5 column that hold nothing, without decoding: never written, or in files that are gone.

HDF5 gives its fill value for them and no error.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

import h5py
import numpy as np

from lewm_cli.data.hdf5_file import open_file

RECORD_AGAIN = "record it again, or leave the episodes with these rows out of ep_len and ep_offset"
PUT_BACK = "put that file back where it was, or record it again"
DEEPEST = 8
"""Virtual datasets within virtual ones that are followed."""

Source = tuple[h5py.h5s.SpaceID, str, str, h5py.h5s.SpaceID]
"""The part of a virtual column that a source fills, its file, its column there, and the part of that."""


@dataclass(frozen=True)
class Gap:
    """Rows from `start` to before `stop` that hold nothing, why, what to do, and the other file that is to blame."""

    start: int
    stop: int
    why: str
    advice: str = RECORD_AGAIN
    file: str | None = None

    def __str__(self) -> str:
        return f"{self.start:,} to {self.stop - 1:,}" if self.stop > self.start + 1 else f"{self.start:,}"


def find_gaps(column: h5py.Dataset, depth: int = 0) -> Iterator[Gap]:
    """Yield the gaps of a column; raises OSError if its description is damaged."""
    if not column.ndim or not column.size:
        return
    made = column.id.get_create_plist()
    if column.is_virtual:
        yield from _virtual_gaps(column, depth)
    elif made.get_external_count():
        yield from _external_gaps(column, made)
    elif column.chunks:
        yield from _unwritten_chunks(column)
    elif column.id.get_storage_size() == 0:
        yield Gap(0, len(column), "were never written")


def _unwritten_chunks(column: h5py.Dataset) -> Iterator[Gap]:
    per_row = prod(ceil(size / chunk) for size, chunk in zip(column.shape[1:], column.chunks[1:], strict=True))
    step = column.chunks[0]
    if column.id.get_num_chunks() >= per_row * ceil(len(column) / step):
        return
    written: Counter[int] = Counter()
    column.id.chunk_iter(lambda chunk: written.update([chunk.chunk_offset[0]]))
    lost = [start for start in range(0, len(column), step) if written[start] < per_row]
    rows = (np.array(lost)[:, None] + np.arange(step)).ravel()
    yield from _runs(rows[rows < len(column)], "were never written")


def _virtual_gaps(column: h5py.Dataset, depth: int) -> Iterator[Gap]:
    mapped = np.zeros(len(column), bool)
    for source in column.virtual_sources():
        rows = _rows(source[0], len(column))
        mapped[rows] = True
        # HDF5 itself ends a column where the first of a numbered series of files is not there.
        if len(rows) and "%b" not in source[1] + source[2]:
            yield from _source_gaps(column, source, rows, depth)
    yield from _runs(np.flatnonzero(~mapped), "have no source in this virtual dataset")


def _source_gaps(column: h5py.Dataset, source: Source, rows: np.ndarray, depth: int) -> Iterator[Gap]:
    """The gaps in these rows, which come from one source."""
    _, name, within, selected = source
    here = Path(column.file.filename)
    path = here if name == "." else _beside(name, here.absolute().parent)
    if path is None:
        yield from _runs(rows, "are missing with the file they lie in, which is gone", PUT_BACK, name)
        return
    try:
        with open_file(path) as file:
            stored = file.get(within)
            if not isinstance(stored, h5py.Dataset) or not stored.ndim:
                yield from _runs(rows, f"are missing in the file they lie in, which has no {within}", PUT_BACK, name)
                return
            everything = selected.get_select_type() == h5py.h5s.SEL_ALL
            taken = np.arange(len(rows)) if everything else _rows(selected, selected.shape[0])
            if len(taken) != len(rows):  # one frame, say, and not a row per row
                taken = np.full(len(rows), taken[-1] if len(taken) else 0)
            short = taken >= len(stored)
            yield from _runs(rows[short], "are missing in the file they lie in, which is too short", PUT_BACK, name)
            for gap in find_gaps(stored, depth + 1) if depth < DEEPEST else ():
                lost = rows[(taken >= gap.start) & (taken < gap.stop)]
                yield from _runs(lost, gap.why, gap.advice, gap.file or name)
    except OSError:
        yield from _runs(rows, "are missing with the file they lie in, which cannot be read as HDF5", PUT_BACK, name)


def _external_gaps(column: h5py.Dataset, made: h5py.h5p.PropDCID) -> Iterator[Gap]:
    width, begin = prod(column.shape[1:]) * column.dtype.itemsize, 0
    folder = Path(column.file.filename).absolute().parent
    prefix = os.environ.get("HDF5_EXTFILE_PREFIX", "").replace("${ORIGIN}", str(folder))
    for number in range(made.get_external_count()):
        name, offset, size = made.get_external(number)
        file = Path(prefix, os.fsdecode(name))
        end = min(begin + size, len(column) * width)
        there = max(0, file.stat().st_size - offset) if file.is_file() else 0
        if begin + there < end:
            # HDF5 looks in the folder that a command is typed in, not beside the recording.
            why = "which is cut short" if file.is_file() else f"which is not in {file.absolute().parent}"
            rows = (begin + there) // width, ceil(end / width)
            yield Gap(*rows, f"are missing with the file they lie in, {why}", PUT_BACK, file.name)
        begin += size


def _rows(space: h5py.h5s.SpaceID, limit: int) -> np.ndarray:
    """The rows, below a limit, that a selection touches."""
    kind = space.get_select_type()
    if kind == h5py.h5s.SEL_NONE:
        return np.empty(0, int)
    if kind == h5py.h5s.SEL_HYPERSLABS and space.is_regular_hyperslab():
        start, stride, count, block = (each[0] for each in space.get_regular_hyperslab())
        if start >= limit:
            return np.empty(0, int)
        if block >= limit:  # also what has no end
            return np.arange(start, limit)
        starts = start + stride * np.arange(min(count, ceil((limit - start) / max(1, stride))))
        rows: np.ndarray = (starts[:, None] + np.arange(block)).ravel()
        return rows[rows < limit]
    if kind == h5py.h5s.SEL_ALL:
        return np.arange(limit)
    low, high = space.get_select_bounds()
    return np.arange(low[0], min(high[0] + 1, limit))


def _beside(name: str, folder: Path) -> Path | None:
    """The file that HDF5 opens for a source of this name; None if it finds none."""
    places = [Path(place) for place in os.environ.get("HDF5_VDS_PREFIX", "").split(":") if place]
    tail = Path(name).name if Path(name).is_absolute() else name
    tried = [Path(name), *(place / tail for place in (*places, folder))]
    return next((path for path in tried if path.is_file()), None)


def _runs(rows: np.ndarray, why: str, advice: str = RECORD_AGAIN, file: str | None = None) -> Iterator[Gap]:
    """Gaps from ascending row numbers."""
    for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1) if len(rows) else ():
        yield Gap(int(run[0]), int(run[-1]) + 1, why, advice, file)
