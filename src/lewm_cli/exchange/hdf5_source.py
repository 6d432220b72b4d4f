"""Sources that keep their columns in HDF5 files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from lewm_cli.data.frame_format import FrameFormat
from lewm_cli.data.hdf5_file import dataset_at, opened, read_rows, unreadable
from lewm_cli.data.pixel_format import decoded_image
from lewm_cli.data.video_dataset import in_order
from lewm_cli.errors import LewmError
from lewm_cli.exchange.column_source import ColumnSource, EpisodeRows
from lewm_cli.file_kind import FileKind, look

BLOCK = 2**24
"""Bytes of frames that are read at once."""


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


@contextmanager
def looked_into(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file of which anything may be damaged; what h5py then raises becomes a sentence.

    Raises:
        LewmError: it cannot be opened, or what is read of it is damaged.
    """
    with opened(path) as file:
        try:
            yield file
        except (ValueError, TypeError, LookupError, RuntimeError) as error:
            raise unreadable(path, error) from error


def _column(file: h5py.File, rows: EpisodeRows, path: str) -> h5py.Dataset:
    stored = dataset_at(file, f"{rows.group}/{path}")
    if stored is None:
        raise LewmError(f"{rows.file}: {rows.group}/{path} is damaged, or has gone; fetch or record it again")
    return stored


def hdf5_files(path: Path) -> tuple[Path, ...]:
    """The file itself, or the HDF5 files of a folder, by the numbers in their names; none if it is another kind.

    Raises:
        OSError: something cannot be read.
    """
    inside = [place for place in path.iterdir() if place.is_file()] if path.is_dir() else [path]
    inside.sort(key=lambda place: in_order(place.name))
    return tuple(place for place in inside if look(place) is FileKind.HDF5)


def frame_size(stored: h5py.Dataset) -> str:
    """The size of stored frames in words: `640 x 480`.

    Raises:
        LewmError: they are image files, and the first cannot be read.
    """
    shape = stored.shape[1:]
    if is_encoded(stored):
        shape = decoded_image(read_rows(stored, slice(0, 1))[0], f"{stored.file.filename}: {stored.name}").shape
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
