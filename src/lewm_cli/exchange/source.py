"""The seam for recordings of other tools: a source has cameras and episodes, and reads one episode at a time.

A new layout is one module with a subclass of `Source` and one entry in `recognized.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SourceEpisode:
    """An episode of a source, as it is known before anything of it is read.

    Args:
        name: unique in the source; a person finds the episode by it: `episode_000003`, `data/demo_3`, `run7/front.mp4`.
        frames: number of its frames; None where only decoding tells.
    """

    name: str
    frames: int | None = None


@dataclass(frozen=True, eq=False)
class RawEpisode:
    """An episode as the source has it: frames of any size and type, actions of any rate.

    Args:
        frames: (H, W), (H, W, C) or (C, H, W) each, of any dtype, in the order of time; decoded as they are asked for.
        actions: (K, A) floats, NaN where none is known. With as many rows as frames, or one fewer, row k belongs to
            frame k; with others, times say which.
        frame_times: (T,) seconds; None where the source has none.
        action_times: (K,) seconds; None where the source has none.
        columns: other recorded quantities by name, one row per action: `proprio`, `reward`, `task_index`.
    """

    frames: Generator[npt.NDArray[Any], None, None]
    actions: npt.NDArray[np.floating[Any]]
    frame_times: Seconds | None = None
    action_times: Seconds | None = None
    columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


def narrowed(columns: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Columns (K, D) as recordings have them: (K,) where D is 1, but for proprioception."""
    return {name: rows if rows.shape[1] > 1 or name == "proprio" else rows[:, 0] for name, rows in columns.items()}


@dataclass(frozen=True)
class Asked:
    """A wish about a source, in the words of the command line.

    Args:
        camera: name of the one to take, where the source has several.
        action: names of action dimensions to take; all of them if empty.
        map: paths of columns in files with names of their own, by the name that a recording gives them.
        episodes: the column or the flags that tell episodes apart: `done`, `ep_id`, `lengths`.
        preset: layout to read it as, where its content leaves that open: `robomimic`, `minari`, `aloha`.
    """

    camera: str | None = None
    action: tuple[str, ...] = ()
    map: Mapping[str, str] = field(default_factory=dict)
    episodes: str | None = None
    preset: str | None = None


@dataclass(frozen=True)
class Source(ABC):
    """A recording of another tool that was looked at: bookkeeping is read and checked, no frame is decoded.

    Sources are small and can be pickled; worker processes read episodes of their own copy.

    Args:
        kind: layout in words: `LeRobot v3.0`.
        name: as it was typed.
        files: everything that is read, in a fixed order, for the digest.
        camera: what is taken as frames.
        cameras: all that there are.
        episodes: in order.
        action_names: one per action dimension that is taken; empty where the source does not name them.
        fps: frames per second; None where the source does not say it.
        tasks: texts that `task_index` counts, if there are any.
        notes: what was chosen on the user's behalf, one line each.
    """

    kind: str
    name: str
    files: tuple[Path, ...]
    camera: str
    cameras: tuple[str, ...]
    episodes: tuple[SourceEpisode, ...]
    action_names: tuple[str, ...] = ()
    fps: float | None = None
    tasks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @abstractmethod
    def actions(self, number: int) -> npt.NDArray[np.floating[Any]]:
        """Read the actions (K, A) of an episode without decoding a frame; errors as of `read`."""

    @abstractmethod
    def read(self, number: int) -> RawEpisode:
        """Read one episode; its frames are decoded one by one as they are taken.

        Raises:
            LewmError: it is damaged, or other than its bookkeeping says.
        """
