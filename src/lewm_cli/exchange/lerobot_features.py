"""The episodes and features of a recording that a LeRobot data set takes: their rows, names, types and statistics."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lewm_cli.data import Dataset
from lewm_cli.data.dataset import PROPRIO
from lewm_cli.data.imported import SOURCE_ROW
from lewm_cli.exchange.feature_statistics import Statistics

ACTION, STATE, WORLD = "action", "observation.state", "observation.environment_state"
"""Names that LeRobot has for what is done, for what a robot knows of itself, and for the state of everything."""

TASK = "task_index"
"""The column with the number of every frame's task."""

OTHERWISE = ("pixels", ACTION, TASK, SOURCE_ROW, "step_idx")
"""Columns that are written in another way, or only number rows."""


LastRow = Literal["drop", "repeat"]
"""The fate of a frame at which no action was taken; LeRobot has an action at every frame."""


@dataclass(frozen=True)
class Stretch:
    """Rows of the recording that become an episode.

    Args:
        number: of the episode.
        index: number of its first frame among those of all episodes.
        first: row.
        actions: number of rows with an action, from the first on.
        frames: number of rows, one more where the last action is repeated.
    """

    number: int
    index: int
    first: int
    actions: int
    frames: int

    @property
    def rows(self) -> slice:
        """Rows of its frames."""
        return slice(self.first, self.first + self.frames)

    @property
    def acted(self) -> npt.NDArray[np.int64]:
        """(frames,) the row that each frame has its action from."""
        return self.first + np.minimum(np.arange(self.frames), self.actions - 1)


@dataclass(frozen=True, eq=False)
class WrittenFeature:
    """Numbers that are written for every frame.

    Args:
        key: the name that it gets.
        column: of the recording; None for times and numbers of frames.
        shape: of one row.
        names: one for each of its numbers, if there are any.
        statistics: of all rows that are written.
    """

    key: str
    column: str | None
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] | None
    statistics: Statistics


def find_stretches(dataset: Dataset, last_row: LastRow) -> list[Stretch]:
    """Runs of rows with actions, in order; a gap in the middle of an episode splits it."""
    known, index = np.isfinite(dataset.actions).all(axis=1), 0
    found: list[Stretch] = []
    for offset, length in zip(dataset.offsets.tolist(), dataset.lengths.tolist(), strict=True):
        edges = np.flatnonzero(np.diff(known[offset : offset + length], prepend=False, append=False)).tolist()
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            frames = end - begin + int(last_row == "repeat" and end < length)
            found.append(Stretch(len(found), index, offset + begin, end - begin, frames))
            index += frames
    return found


def choose_features(
    dataset: Dataset, stretches: Sequence[Stretch], action_names: Sequence[str], counters: Sequence[str]
) -> tuple[list[WrittenFeature], list[str]]:
    """Choose the columns of floats that every frame has, the actions first; and say of the others why they are left.

    Args:
        action_names: of the action dimensions; empty if nothing names them.
        counters: columns that number episodes.
    """
    actions = dataset.actions[np.concatenate([stretch.acted for stretch in stretches])]
    names = tuple(action_names) or _numbered(ACTION, actions.shape[1])
    found = [WrittenFeature(ACTION, ACTION, "float32", actions.shape[1:], names, Statistics.of_rows(actions))]
    left: list[str] = []
    columns = [column for column in dataset.columns if column.name not in (*OTHERWISE, *counters)]
    has_proprio = any(column.name == PROPRIO for column in columns)
    for column in columns:
        key, width = _key(column.name, has_proprio), prod(column.shape)
        if np.dtype(column.dtype).kind != "f" or len(column.shape) > 1 or not width:
            left.append(f"{column.name} ({column.dtype}{' of several axes' * (len(column.shape) > 1)})")
        elif "/" in key or key in (feature.key for feature in found):
            left.append(f"{column.name} ({key} cannot be its name)")
        elif not np.isfinite(values := _written_rows(dataset, column.name, stretches)).all():
            left.append(f"{column.name} (NaN or infinite in {np.count_nonzero(~np.isfinite(values)):,} places)")
        else:
            names, statistics = _numbered(column.name, width), Statistics.of_rows(values)
            found.append(WrittenFeature(key, column.name, values.dtype.name, (width,), names, statistics))
    return found, left


def counting_features(
    dataset: Dataset, stretches: Sequence[Stretch], rate: Fraction, *, tasks: bool
) -> list[WrittenFeature]:
    """The times and numbers of frames, episodes and tasks, which every data set has.

    Args:
        tasks: the recording has the number of every frame's task; else all have the first one.
    """
    every = [count_frames(stretch, rate) for stretch in stretches]
    rows = {key: np.concatenate([counts[key] for counts in every]) for key in every[0]}
    rows[TASK] = _written_rows(dataset, TASK, stretches) if tasks else np.zeros(len(rows["index"]), np.int64)
    return [
        WrittenFeature(
            key, TASK if tasks and key == TASK else None, each.dtype.name, (1,), None, Statistics.of_rows(each)
        )
        for key, each in rows.items()
    ]


def count_frames(stretch: Stretch, rate: Fraction) -> dict[str, npt.NDArray[Any]]:
    """Times and numbers of the frames of an episode by key, but for their tasks: (frames,) each."""
    frames = np.arange(stretch.frames)
    return {
        "timestamp": (frames / float(rate)).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.full(len(frames), stretch.number),
        "index": stretch.index + frames,
    }


def _written_rows(dataset: Dataset, column: str, stretches: Sequence[Stretch]) -> npt.NDArray[Any]:
    values = dataset.read(column, slice(None))
    return np.concatenate([values[stretch.rows] for stretch in stretches])


def _key(column: str, has_proprio: bool) -> str:
    if column == PROPRIO:
        return STATE
    key = column if column.startswith(("observation.", "next.")) else f"observation.{column}"
    return WORLD if key == STATE and has_proprio else key


def _numbered(name: str, width: int) -> tuple[str, ...]:
    return tuple(f"{name}_{number}" for number in range(width)) if width > 1 else (name,)
