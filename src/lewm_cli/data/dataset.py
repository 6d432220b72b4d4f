"""Recordings: flat columns of N rows and the episodes in them, whatever format the disk has them in."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lewm_cli.config import DatasetIdentity
from lewm_cli.data.imported import Imported
from lewm_cli.file_kind import FileKind, look

DATASET_SUFFIXES = (".H5", ".HDF", ".HDF5", ".h5", ".hdf", ".hdf5", ".he5")
"""Endings of files that may be recordings; the first of several of one name is taken, as listings are sorted."""

SAMPLED_FRAMES = 8
"""Frames that go into a fingerprint: recordings of the same actions can look different."""


PROPRIO = "proprio"
"""The column of proprioception: what the controlled thing knows of itself, where it is for example."""


@dataclass(frozen=True)
class Column:
    """A recorded quantity: its name, the shape of one row and its dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Dataset(ABC):
    """A recording whose bookkeeping has been checked; nothing of its frames is in memory.

    A format is one subclass that can `read`, built by `open_dataset`. Every recording has the columns `pixels`
    (N, size, size, 3) uint8 and `action` (N, A).

    Args:
        path: its file or folder.
        name: as typed on the command line.
        lengths: (E,) rows per episode.
        offsets: (E,) first row of each episode.
        columns: everything recorded per row, pixels and actions included.
        task: the recorded task attribute, None in files that have none.
        policy: name of the policy that acted, None in files that have none.
        seed: of the recording, None in files that have none.
        notes: what is read in another way than recordings have it, one line each.
        fps: rows per second, None in files that do not say it.
        varies: what differs between episodes and no column tells, `color`; None in files that do not say it.
        imported: what it was imported from; None for what was recorded here.
    """

    path: Path
    name: str
    lengths: np.ndarray
    offsets: np.ndarray
    columns: tuple[Column, ...]
    task: str | None
    policy: str | None
    seed: int | None
    notes: tuple[str, ...] = ()
    fps: float | None = None
    varies: str | None = None
    imported: Imported | None = None

    @abstractmethod
    def read(self, name: str, rows: np.ndarray | slice) -> np.ndarray:
        """Rows of one column, in the order asked for; a row may be asked for twice.

        Raises:
            LewmError: the recording has no such column, or is damaged.
        """

    def read_frames(self, rows: np.ndarray, frames: np.ndarray) -> None:
        """Read rows of `pixels` into memory that is there: `frames` (K, size, size, 3) uint8; errors as of `read`."""
        frames[...] = self.read("pixels", rows)

    @property
    def frame_size(self) -> int:
        """Side of a recorded frame in pixels."""
        return next(column.shape[0] for column in self.columns if column.name == "pixels")

    @property
    def episodes(self) -> int:
        """Number of episodes E."""
        return len(self.lengths)

    @property
    def rows(self) -> int:
        """Number of rows in all episodes."""
        return int(self.lengths.sum())

    def place(self, start: int, stop: int) -> str:
        """Names rows from the first to before the second: "rows 3 to 9, step 3 of episode 0 to step 1 of episode 1"."""
        rows, order = np.arange(start, stop), np.argsort(self.offsets)
        owners = order[np.searchsorted(self.offsets[order], rows, side="right") - 1]
        steps = rows - self.offsets[owners]
        inside = np.flatnonzero((steps >= 0) & (steps < self.lengths[owners]))
        named = f"rows {start:,} to {stop - 1:,}" if len(rows) > 1 else f"row {start:,}"
        if not len(inside):
            return f"{named} of no episode"
        first, last = (f"step {steps[at]} of episode {owners[at]:,}" for at in inside[[0, -1]])
        return f"{named}, {first}" + (f" to {last}" if len(inside) > 1 else "")

    @cached_property
    def actions(self) -> np.ndarray:
        """All actions (N, A), float32."""
        with np.errstate(over="ignore"):  # what is larger becomes infinite, and is refused as that
            return self.read("action", slice(None)).astype(np.float32)

    @cached_property
    def proprio(self) -> np.ndarray | None:
        """All proprioception (N, P), float32; None where no column of numbers has it."""
        if not any(column.name == PROPRIO for column in self.columns):
            return None
        values = self.read(PROPRIO, slice(None))
        if values.dtype.kind not in "fiub" or not values.size:
            return None
        with np.errstate(over="ignore"):
            return values.reshape(len(values), -1).astype(np.float32)

    @cached_property
    def identity(self) -> DatasetIdentity:
        """The fingerprint of the content (bookkeeping, actions, a sample of frames), the same wherever it lies."""
        sample = self.read("pixels", np.linspace(0, self.rows - 1, SAMPLED_FRAMES).astype(int))
        content = b"".join(array.tobytes() for array in (self.lengths, self.offsets, self.actions, sample))
        fingerprint = hashlib.sha256(content).hexdigest()
        return DatasetIdentity(name=self.name, episodes=self.episodes, rows=self.rows, fingerprint=fingerprint)

    @cached_property
    def episode_digests(self) -> tuple[str, ...]:
        """One digest per episode that identifies it in any recording: of its actions, and its proprioception if any."""
        recorded = [self.actions]
        if any(column.name == PROPRIO for column in self.columns):
            recorded.append(self.read(PROPRIO, slice(None)))
        return tuple(
            hashlib.sha256(b"".join(rows[offset : offset + length].tobytes() for rows in recorded)).hexdigest()[:16]
            for length, offset in zip(self.lengths, self.offsets, strict=True)
        )


def names_recording(typed: str) -> bool:
    """Tell whether something typed can only be a recording: it ends like one, or is the path of an HDF5 file."""
    if typed.endswith(DATASET_SUFFIXES):
        return True
    try:
        return look(Path(typed)) is FileKind.HDF5
    except OSError:
        return False
