"""The ways in which actions are stored, and how all of them become one row (A,) per frame."""

from dataclasses import dataclass

import h5py
import numpy as np

from lewm_cli.data.episodes import Episodes
from lewm_cli.data.hdf5_file import GUIDE, read_whole, refuse_vast
from lewm_cli.errors import LewmError


@dataclass(frozen=True, eq=False)
class ActionFormat:
    """The way that actions are stored; by default as recordings have them, (N, A) floats.

    Args:
        column: path of the data set in the file.
        cast: they are of another type, or have axes of one, and become (N, A) float32.
        last_rows: (E,) last row of each episode, where the file has no row of actions; None if it has.
    """

    column: str = "action"
    cast: bool = False
    last_rows: np.ndarray | None = None

    @property
    def plain(self) -> bool:
        """Tell whether stored actions are what is read."""
        return not self.cast and self.last_rows is None

    def note(self, stored: h5py.Dataset) -> str | None:
        """The way they are read, in words; None if there is nothing to say."""
        words = (
            f"from {self.column}" if self.column != "action" else "",
            f"as floats (rows, dimensions) from {stored.dtype} of shape {stored.shape}" if self.cast else "",
            "with NaN in every episode's last row, for which there is none" if self.last_rows is not None else "",
        )
        return f"actions are read {', '.join(filter(None, words))}" if any(words) else None

    def all_rows(self, stored: h5py.Dataset) -> np.ndarray:
        """Actions (N, A) of all frames."""
        actions = read_whole(stored)
        if self.plain:
            return actions
        actions = actions.reshape(len(actions), -1).astype(np.float32)
        if self.last_rows is None:
            return actions
        frames = np.full((len(actions) + len(self.last_rows), actions.shape[1]), np.nan, np.float32)
        frames[np.setdiff1d(np.arange(len(frames)), self.last_rows)] = actions
        return frames


def action_format(stored: h5py.Dataset, column: str, frames: int, episodes: Episodes) -> tuple[ActionFormat, Episodes]:
    """Look at how actions are stored.

    Args:
        frames: number of frames N.
        episodes: as the file counts them, in frames or in actions.

    Returns:
        the format, and the episodes counted in frames.

    Raises:
        LewmError: they are no numbers, or have other rows than frames and it is not clear which are missing.
    """
    width = stored.size // max(len(stored), 1) if stored.ndim else 0
    flat = stored.ndim == 1 or (stored.ndim >= 2 and max(stored.shape[1:]) == width)
    if stored.dtype.kind not in "fiub" or not flat or width == 0:
        raise LewmError(
            f"{stored.file.filename}: actions are {stored.dtype} of shape {stored.shape}; "
            "floats (N, dimensions) are needed"
        )
    refuse_vast(stored, len(stored))
    cast = stored.dtype.kind != "f" or stored.ndim != 2
    rows = len(stored)
    if rows == frames:
        return ActionFormat(column, cast), episodes
    number = len(episodes.lengths)
    counted = int(episodes.lengths.sum())
    if rows + number != frames or counted not in (rows, frames) or not episodes.in_a_row:
        if episodes.flag_fault:
            raise LewmError(f"{stored.file.filename}: {episodes.flag_fault}")
        raise LewmError(
            f"{stored.file.filename} has {frames} frames and {rows} rows of actions, and every frame needs one row: "
            "write NaN in the last row of every episode, where no action was taken: "
            f"{GUIDE}#one-action-too-few-or-too-many"
        )
    if counted == rows:
        lengths = episodes.lengths + 1
        episodes = Episodes(lengths, np.cumsum(lengths) - lengths, episodes.said_by, episodes.unfinished)
    return ActionFormat(column, cast, episodes.offsets + episodes.lengths - 1), episodes
