"""Recordings in the released HDF5 schema, and in HDF5 files that say the same in another way."""

import json
import shlex
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lewm_cli.data.action_format import ActionFormat, action_format
from lewm_cli.data.chunks import DamagedChunkError, FrameChunks
from lewm_cli.data.dataset import Column, Dataset
from lewm_cli.data.episodes import BOOKKEEPING, find_episodes
from lewm_cli.data.hdf5_file import (
    dataset_at,
    looked_into,
    number_attribute,
    opened,
    rate_attribute,
    read_rows,
    text_attribute,
    unreadable,
)
from lewm_cli.data.imported import Imported
from lewm_cli.data.layouts import ALOHA, MINARI, ROBOMIMIC, color_frames, file_layout, folder_in_place, other_layout
from lewm_cli.data.pixel_format import PixelFormat, pixel_format
from lewm_cli.errors import LewmError
from lewm_cli.suggestion import command, few
from lewm_cli.system_errors import explain

ROWS_AT_ONCE = 256
"""Rows between which one read of a column without chunks spans."""

ACTION_COLUMNS = ("action", "actions")


@dataclass(frozen=True)
class HDF5Dataset(Dataset):
    """A recording in an HDF5 file, opened for every read but those of frames that are read around HDF5.

    Args:
        pixels: the format of its stored frames.
        action: the format of its stored actions.
    """

    pixels: PixelFormat = field(default_factory=PixelFormat)
    action: ActionFormat = field(default_factory=ActionFormat)

    def read(self, name: str, rows: np.ndarray | slice) -> np.ndarray:
        names = [column.name for column in self.columns]
        if name not in names:
            raise LewmError(
                f"{self.path} has no column {name!r} (it has {few(names)}); "
                f"`{command('show', self.name)}` prints what it holds"
            )
        if name == "pixels" and self.chunks and (not isinstance(rows, slice) or self.chunks.rows == 1):
            wanted = np.arange(*rows.indices(len(self.chunks.places))) if isinstance(rows, slice) else rows
            frames = np.empty((len(wanted), self.pixels.size, self.pixels.size, 3), np.uint8)
            self.read_frames(wanted, frames)
            return frames
        return self._read_by_hdf5(name, rows)

    def read_frames(self, rows: np.ndarray, frames: np.ndarray) -> None:
        if self.chunks is None or not frames.flags.c_contiguous:
            super().read_frames(rows, frames)
            return
        try:
            left = self.chunks.read(rows, frames)
        except DamagedChunkError as error:
            place = self.place(error.start, error.stop)
            raise unreadable(self.path, OSError(f"{self.pixels.column} in {place}: {error}")) from error
        except OSError as error:
            raise unreadable(self.path, error) from error
        if left:
            frames[left] = self._read_by_hdf5("pixels", rows[left])

    @cached_property
    def chunks(self) -> FrameChunks | None:
        """The chunks of compressed frames, if they can be read around HDF5, in threads; else None."""
        if not self.pixels.plain:
            return None
        with self.opened() as file:
            return FrameChunks.of(self.stored(file, "pixels"))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "chunks"}  # another process opens anew

    def _read_by_hdf5(self, name: str, rows: np.ndarray | slice) -> np.ndarray:
        with self.opened() as file:
            stored = self.stored(file, name)
            if name == "action" and not self.action.plain:
                return self.action.all_rows(stored)[rows]
            if isinstance(rows, slice) or len(rows) == 0:
                values = read_rows(stored, rows if isinstance(rows, slice) else slice(0), self.place)
                return self._as_read(name, values)
            # One read per chunk: asked for a list of rows, HDF5 decodes the whole chunk again for each of them.
            unique, inverse = np.unique(rows, return_inverse=True)
            chunks = unique // (stored.chunks or (ROWS_AT_ONCE,))[0]
            groups = np.split(unique, np.flatnonzero(np.diff(chunks)) + 1)
            parts = [
                read_rows(stored, slice(group[0], group[-1] + 1), self.place)[group - group[0]] for group in groups
            ]
            return self._as_read(name, np.concatenate(parts))[inverse]

    def stored(self, file: h5py.File, name: str) -> h5py.Dataset:
        """The data set in the file that a column is read from; raises LewmError if it is there no longer."""
        stored = dataset_at(file, {"pixels": self.pixels.column, "action": self.action.column}.get(name, name))
        if stored is None:
            raise LewmError(f"{self.path}: column {name} is damaged, or has gone; fetch or record it again")
        return stored

    def opened(self) -> AbstractContextManager[h5py.File]:
        """The HDF5 file, open for reading; a LewmError where what is read turns out to be damaged."""
        return opened(self.path)

    def _as_read(self, name: str, values: np.ndarray) -> np.ndarray:
        if name != "pixels":  # in this machine's order of bytes, for digests are of bytes
            return values.astype(values.dtype.newbyteorder("="), copy=False)
        try:
            return self.pixels.frames(values)
        except LewmError as error:
            raise LewmError(f"{self.path}: {error}") from error


def open_dataset(path: Path, name: str) -> HDF5Dataset:
    """Open a recording and check that it can be trusted: columns, dtypes, and episodes that lie apart.

    What it stores in another way than the released schema, and that can mean one thing only, is read, and said in its
    notes.

    Raises:
        LewmError: not an HDF5 file, a truncated one, or one whose schema or bookkeeping is wrong.
    """
    try:
        if path.is_dir():
            raise folder_in_place(path)
    except OSError as error:
        raise explain(error, path, "read") from error
    with looked_into(path) as file:
        return _read_schema(file, path, name)


def _read_schema(file: h5py.File, path: Path, name: str) -> HDF5Dataset:
    frames, actions = _find_frames(file), _find_actions(file)
    pixels = pixel_format(file[frames], frames)
    rows = (len(file[frames]), len(file[actions]) if file[actions].ndim else 0)
    action, episodes = action_format(file[actions], actions, rows[0], find_episodes(file, rows))
    notes = (pixels.note, action.note(file[actions]), episodes.note)
    return HDF5Dataset(
        path=path,
        name=name,
        lengths=episodes.lengths,
        offsets=episodes.offsets,
        columns=_columns(file, pixels, action, rows[0]),
        # Other tools may mean something else by these.
        task=text_attribute(file, "task"),
        policy=text_attribute(file, "policy"),
        seed=number_attribute(file, "seed"),
        notes=tuple(note for note in notes if note),
        fps=rate_attribute(file, "fps"),
        varies=text_attribute(file, "varies"),
        imported=Imported.read(file),
        pixels=pixels,
        action=action,
    )


def _find_frames(file: h5py.File) -> str:
    """The path of the frames: `pixels`, or the only data set that can be nothing else."""
    if dataset_at(file, "pixels") is not None:
        return "pixels"
    if file_layout(file) in (ROBOMIMIC, ALOHA, MINARI):
        raise other_layout(file, "column 'pixels'")
    found = list(color_frames(file))
    if not found:
        raise other_layout(file, "column 'pixels'")
    if len(found) > 1:
        raise _several_cameras(file, found)
    return found[0]


def _find_actions(file: h5py.File) -> str:
    """The path of the actions: `action`, or else `actions`."""
    found = next((key for key in ACTION_COLUMNS if dataset_at(file, key) is not None), None)
    if found is None:
        raise other_layout(file, "column 'action'")
    return found


def _several_cameras(file: h5py.File, found: list[str]) -> LewmError:
    """Returns the sentence that asks which of several data sets is meant; the line in it gives one a second name."""
    chosen, making_room = found[0], ""
    if "pixels" in file:  # a group
        chosen, making_room = chosen.replace("pixels/", "cameras/", 1), ' f.move("pixels", "cameras");'
    path, old = map(json.dumps, (file.filename, chosen))  # quoted as Python takes it, too
    naming = f'import h5py; f = h5py.File({path}, "r+");{making_room} f["pixels"] = f[{old}]'
    return LewmError(
        f"{file.filename} has {len(found)} data sets that may be 'pixels': {few(found, 'h5ls -r FILE')}; "
        f"give one that name too, for example: {shlex.join(('python', '-c', naming))}"
    )


def _columns(file: h5py.File, pixels: PixelFormat, action: ActionFormat, rows: int) -> tuple[Column, ...]:
    """All columns with one row per frame, as they are read."""
    kind = str(file[action.column].dtype) if action.plain else "float32"
    width = file[action.column].size // max(len(file[action.column]), 1)
    own = {
        pixels.column: Column("pixels", (pixels.size, pixels.size, 3), "uint8"),
        action.column: Column("action", (width,), kind),
    }
    found = []
    for name in file:
        if name in own:
            found.append(own.pop(name))
        elif name not in BOOKKEEPING:
            try:
                item = dataset_at(file, name)
            except LewmError:  # a link that leads nowhere, and that nobody needs
                continue
            if item is not None and item.ndim and len(item) == rows:
                # A type may itself be an array, which is read as further axes.
                found.append(Column(name, (*item.shape[1:], *item.dtype.shape), str(item.dtype.base)))
    return (*found, *own.values())
