"""Actions brought to the frames that they were taken at, by their numbers or by their times.

By times, a frame takes the last command that was given before the next frame, for that one moved what the next frame
shows; and a command is held until the next one. Stamps jitter, so a command that comes shortly before a frame counts
for it, not for the frame before: up to half a period, of the shorter of both periods. A period is the median time from
one to the next. No action is computed of others, and clocks are not set: both times have to be of one clock.

An episode is split where frames are apart, or commands, by more than `GAP` periods, for commands of the longer of both.
A command before a gap is held for one period, as the last one is; frames without a command are left out. The last frame
of a segment is what the last action led to, and its own action is NaN.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lewm_cli.data import unequal
from lewm_cli.errors import LewmError
from lewm_cli.exchange.source import RawEpisode, Seconds

GAP = 1.5
"""Periods that two neighbors may be apart; one that is missing makes it two."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Frames that follow each other without a gap, and the actions taken at them.

    Args:
        frames: (n,) int64, numbers of the frames in the raw episode, ascending; n is 2 or more.
        actions: (n, A) float32, NaN where none is known.
        columns: other quantities (n, ...) of the same rows; where no action was taken, NaN, or the one before if whole.
    """

    frames: npt.NDArray[np.int64]
    actions: npt.NDArray[np.float32]
    columns: Mapping[str, npt.NDArray[Any]]


def align(frames: int, raw: RawEpisode) -> list[Segment]:
    """Bring the actions of an episode to its frames; single frames, where no action leads to another, are left out.

    Args:
        frames: number of frames that `raw` gave.

    Raises:
        LewmError: the numbers do not fit and there are no times of both, times do not ascend, or they have no command
            in common.
    """
    for name, values in raw.columns.items():
        if len(values) not in (len(raw.actions), frames):
            rows = f"{len(values)} rows, and there are {len(raw.actions)} actions"
            raise LewmError(f"{name} has {rows}; write one for each")
    if raw.frame_times is None or raw.action_times is None:
        return _by_number(frames, raw)
    for what, times, count in (("frame", raw.frame_times, frames), ("action", raw.action_times, len(raw.actions))):
        _check(what, times, count)
    return _by_time(raw, raw.frame_times, raw.action_times)


def _by_number(frames: int, raw: RawEpisode) -> list[Segment]:
    if frames - len(raw.actions) not in (0, 1):
        raise LewmError(f"there are {unequal(frames, len(raw.actions))}, or give times of both")
    every = np.arange(frames)
    return [_segment(raw, every, every, is_last_taken=len(raw.actions) == frames)] if frames > 1 else []


def _by_time(raw: RawEpisode, frame_times: Seconds, action_times: Seconds) -> list[Segment]:
    if len(frame_times) < 2 or not len(action_times):
        return []
    # Differences to the first are exact where seconds since 1970 are not.
    seen, given = frame_times - frame_times[0], action_times - frame_times[0]
    period = float(np.median(np.diff(seen)))
    action_period = float(np.median(np.diff(given))) if len(given) > 1 else period
    jitter = min(period, action_period) / 2
    is_joined = np.diff(seen) <= GAP * period
    following = np.append(seen[1:], seen[-1] + period)
    following = np.where(np.append(is_joined, True), following, seen + period)

    commands = np.searchsorted(given, following - jitter, side="right") - 1
    held = given[commands]  # wrong where there is none, which is asked first
    until = np.append(given[1:], np.inf)[commands]
    is_followed = until - held <= GAP * max(period, action_period)
    is_taken = (commands >= 0) & (is_followed | (seen <= held + action_period - jitter))
    if not is_taken.any():
        seen_in, given_in = (f"{times[0]:.3f} to {times[-1]:.3f} s" for times in (frame_times, action_times))
        span = f"frames are from {seen_in} and actions from {given_in}"
        raise LewmError(f"{span}, and no action is at any frame; write both times by one clock")

    is_step = is_taken[:-1] & is_joined  # from this frame, an action leads to the next one
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_step, [0]])))
    segments = []
    for first, last in edges.reshape(-1, 2):
        numbers = np.arange(first, last + 1)
        rows = np.where(is_taken[numbers], commands[numbers], len(given))
        segments.append(_segment(raw, numbers, rows, is_last_taken=False))
    return segments


def _segment(
    raw: RawEpisode, frames: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], *, is_last_taken: bool
) -> Segment:
    """Frames with the rows of their actions; that of the last, which may be beyond the end, may serve columns alone."""
    actions = np.asarray(raw.actions, np.float32)
    known = rows if is_last_taken else rows[:-1]
    taken = np.full((len(frames), *actions.shape[1:]), np.nan, np.float32)
    taken[: len(known)] = actions[known]
    columns = {}
    for name, values in raw.columns.items():
        array = np.asarray(values)
        if rows[-1] < len(array):
            columns[name] = array[rows]
            continue
        beyond = np.full_like(array[:1], np.nan) if array.dtype.kind == "f" else array[known[-1:]]
        columns[name] = np.concatenate([array[known], beyond])
    return Segment(frames=frames, actions=taken, columns=columns)


def _check(what: str, times: Seconds, count: int) -> None:
    if len(times) != count:
        raise LewmError(f"there are {count} {what}s and {len(times)} times of {what}s; write one time for each")
    if not np.isfinite(times).all():
        raise LewmError(f"{what} {int(np.argmin(np.isfinite(times)))} has no time; write one, or leave the row out")
    steps = np.diff(times)
    if (steps <= 0).any():
        place = int(np.argmax(steps <= 0))
        how = "at the same time as" if steps[place] == 0 else f"{-steps[place]:.6g} s before"
        raise LewmError(
            f"{what} {place + 1} is {how} {what} {place} ({times[place]:.6f} s); sort the rows by time, each time once"
        )
