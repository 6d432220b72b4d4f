"""One look at a recording before it is used, the same for every command: what is missing in it, and what is doubtful.

Frames are looked at in a sample; `lewm verify` decodes them all.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from lewm_cli.config import ActionBounds, Framing, constant_dimensions
from lewm_cli.data.dataset import PROPRIO, Dataset
from lewm_cli.data.hdf5_dataset import HDF5Dataset
from lewm_cli.data.unwritten import Gap, find_gaps
from lewm_cli.errors import LewmError
from lewm_cli.plural import counted

NOWHERE = -1

NAMED = 3
"""Places that are named before the rest is only counted."""

SAMPLED_EPISODES = 32
"""Episodes of which frames are looked at; each frame costs a whole chunk, of 100 frames as released."""
EPISODES_AT_ONCE = 16
"""Episodes whose sampled frames are in memory at once."""

ROWS_AT_ONCE = 256

FAR = 1000
"""Standard deviations from the middle of all actions to one that is taken for a fault of the recorder."""

FEW = 0.01
"""Share of the rows that can be faults: what happens more often is what the robot does."""

MOST_CODES = 20
"""Whole numbers that an action can be, before they are taken for a quantity."""

MEND = "mend it, or record it again"


@dataclass(frozen=True)
class Problem:
    """Something wrong, in one phrase, and what to do about it where the phrase does not say it itself."""

    says: str
    advice: str | None = None


@dataclass(frozen=True)
class Missing(Problem):
    """Something wrong that nothing can be trained or measured with."""


@dataclass(frozen=True)
class Remark:
    """Something worth knowing that is not wrong."""

    says: str


Finding = Problem | Remark


def require_usable(dataset: Dataset, say: Callable[[str], None]) -> None:
    """Say in one line each what is doubtful about a recording.

    Raises:
        LewmError: frames or actions are missing, or it is damaged.
    """
    for finding in _findings(dataset):
        _refuse_missing(dataset, finding)
        advice = finding.advice if isinstance(finding, Problem) else None
        say(f"note: {finding.says}" + (f"; {advice}" if advice else ""))


def require_columns(dataset: Dataset, columns: Iterable[str]) -> None:
    """Raises LewmError if rows of these columns were never written, or the files in which they lie are gone."""
    for finding in missing_findings(dataset, columns):
        _refuse_missing(dataset, finding)


def require_proprio(dataset: Dataset, dims: int | None, taker: str, instead: str) -> npt.NDArray[np.float32]:
    """Read all proprioception (N, P) for who takes so many numbers of it; any number where `dims` is None.

    Args:
        taker: a run or a method, in words.
        instead: what to do if that is not what is recorded, in words.

    Raises:
        LewmError: the recording has none, or another number of them, or rows that were never written.
    """
    proprio: npt.NDArray[np.float32] | None = dataset.proprio
    if proprio is None:
        raise LewmError(f"{dataset.name} has no column {PROPRIO!r}, and {taker} takes proprioception; {instead}")
    if dims not in (None, proprio.shape[1]):
        raise LewmError(
            f"{dataset.name} has {counted(proprio.shape[1], 'number')} of proprioception per row, and {taker} takes "
            f"{dims}; {instead}"
        )
    require_columns(dataset, (PROPRIO,))
    return proprio


def _refuse_missing(dataset: Dataset, finding: Finding) -> None:
    if isinstance(finding, Missing):
        raise LewmError(f"{dataset.path}: {finding.says}; {finding.advice}")


def _findings(dataset: Dataset) -> Iterator[Finding]:
    yield from missing_findings(dataset, ("pixels", "action"))
    yield from stray_findings(dataset)
    yield from action_findings(dataset)
    yield from _sampled_frame_findings(dataset)


def episode_of_rows(dataset: Dataset, rows: int) -> npt.NDArray[np.int64]:
    """(rows,) number of the episode that each row of the file belongs to, NOWHERE for rows of none."""
    episodes = np.full(rows, NOWHERE)
    for number, (offset, length) in enumerate(zip(dataset.offsets, dataset.lengths, strict=True)):
        episodes[offset : offset + length] = number
    return episodes


def used_rows(dataset: Dataset, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Those of all rows (N, K) of a column that belong to an episode, in the order of the file: (R, K)."""
    used: npt.NDArray[np.float32] = rows[episode_of_rows(dataset, len(rows)) != NOWHERE]
    return used


def used_actions(dataset: Dataset) -> npt.NDArray[np.float32]:
    """Actions (R, A) of the rows that belong to an episode, in the order of the file."""
    return used_rows(dataset, dataset.actions)


@dataclass(frozen=True)
class RecordedFacts:
    """Fields of `Inputs` that no weights depend on, but whoever acts by them does."""

    bounds: ActionBounds
    action_names: tuple[str, ...]
    fps: float | None
    framing: Framing | None

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Read them from a recording, in which some action is known."""
        names, framing = (dataset.imported.action_names, dataset.imported.framing) if dataset.imported else ((), None)
        return cls(ActionBounds.of(used_actions(dataset)), names, dataset.fps, framing)


def stray_findings(dataset: Dataset) -> Iterator[Finding]:
    """Count the rows that belong to no episode, and are never used."""
    episodes = episode_of_rows(dataset, len(dataset.actions))
    stray = int((episodes == NOWHERE).sum())
    if stray:
        yield Remark(f"{counted(stray, 'row')} outside of all episodes, first row {int(np.argmin(episodes)):,}")


def missing_findings(dataset: Dataset, columns: Iterable[str]) -> Iterator[Finding]:
    """Find rows of these columns that were never written or whose files are gone; HDF5 shows them as black or as 0."""
    if not isinstance(dataset, HDF5Dataset):
        return
    with dataset.opened() as file:
        for name in columns:
            try:
                column = dataset.stored(file, name)
                gaps = list(find_gaps(column))
            except (RuntimeError, ValueError, LookupError, TypeError) as error:  # as h5py fails on damaged descriptions
                said = f"{dataset.path}: column {name} is damaged ({error}); fetch or record it again"
                raise LewmError(said) from error
            used = episode_of_rows(dataset, len(column)) != NOWHERE
            if name == "action" and dataset.action.last_rows is not None:  # stored without a row for the last frame
                used[:] = True
            reasons: dict[str, list[Gap]] = {}
            for gap in gaps:
                if used[gap.start : gap.stop].any():  # else nobody reads it
                    reasons.setdefault(gap.why, []).append(gap)
            for why, those in reasons.items():
                rows = sum(gap.stop - gap.start for gap in those)
                places = _named(str(gap) for gap in those)
                files = _named(dict.fromkeys(gap.file for gap in those if gap.file))
                in_files = f" ({files})" if files else ""
                yield Missing(f"{counted(rows, 'row')} of {name} {why}{in_files}: rows {places}", those[0].advice)


def action_findings(dataset: Dataset) -> Iterator[Finding]:
    """Judge the actions of all episodes."""
    episodes = episode_of_rows(dataset, len(dataset.actions))
    numbers = np.flatnonzero(episodes != NOWHERE)
    actions, episodes = dataset.actions[numbers], episodes[numbers]

    def place(index: int) -> str:
        row, episode = numbers[index], episodes[index]
        return f"row {row:,}, step {row - dataset.offsets[episode]} of episode {episode}"

    endless, unknown = np.isinf(actions).any(axis=1), np.isnan(actions)
    if endless.any():
        first = place(int(np.argmax(endless)))
        advice = "write NaN where no action was taken, or record it again"
        yield Missing(f"action is infinite in {counted(endless.sum(), 'row')}, first in {first}", advice)
        return
    whole = np.flatnonzero(~unknown.any(axis=1))
    if len(whole) == 0:
        never = np.flatnonzero(unknown.all(axis=0))
        where = f"in all rows of dimension {_named(never)}" if 0 < len(never) < len(unknown[0]) else "in every row"
        yield Missing(f"action is NaN {where}, and a world model needs actions", "record them too")
        return
    yield from _unknown_findings(dataset, unknown.any(axis=1), numbers, episodes, place)
    yield from _dimension_findings(actions[whole].astype(np.float64), lambda index: place(whole[index]))


def _unknown_findings(
    dataset: Dataset,
    unknown: npt.NDArray[np.bool_],
    numbers: npt.NDArray[np.int64],
    episodes: npt.NDArray[np.int64],
    place: Callable[[int], str],
) -> Iterator[Finding]:
    """Judge NaN, which says that no action is known: after an episode's last row nothing was done."""
    first, last = dataset.offsets, dataset.offsets + dataset.lengths - 1
    inside = unknown & ~np.isin(numbers, last)
    if not inside.any():
        return
    if np.isin(first, numbers[inside]).all() and inside.sum() == len(first):
        says = f"action is NaN in the first row of all {len(first):,} episodes; only an episode's last row may be"
        yield Problem(f"{says}: each row seems to hold the action that led to it, not the one taken at it", MEND)
        return
    counts = np.bincount(episodes[inside], minlength=dataset.episodes)
    empty = np.flatnonzero((counts > 0) & (counts == dataset.lengths - 1))
    if len(empty):
        yield Remark(f"no action is known in {len(empty):,} of {dataset.episodes:,} episodes: {_named(empty)}")
    dropped = np.flatnonzero(inside & ~np.isin(episodes, empty))
    if len(dropped):
        yield Remark(
            f"action is NaN in {counted(len(dropped), 'row')} besides an episode's last, first in {place(dropped[0])}: "
            "training takes the mean action there, surprise has no value"
        )


def _dimension_findings(actions: npt.NDArray[np.float64], place: Callable[[int], str]) -> Iterator[Finding]:
    """Judge every dimension of (R, A) known actions."""
    middle = np.median(actions, axis=0)
    distance = np.abs(actions - middle)
    near = distance <= np.quantile(distance, 0.9, axis=0)
    usual = [column[rows].std() for column, rows in zip(actions.T, near.T, strict=True)]
    constant = constant_dimensions(actions)
    if constant.any():
        each = [f"{dim} ({middle[dim]:.6g})" for dim in np.flatnonzero(constant)]
        yield Remark(f"constant action dimensions, whose standard deviation is taken as 1: {_named(each)}")
    for dim in np.flatnonzero(~constant):
        # Of a dimension that nearly always rests, its rest and the others say what is far.
        far = distance[:, dim] > FAR * (usual[dim] or max(*usual, abs(middle[dim])))
        if 0 < far.sum() <= max(1, FEW * len(actions)):
            worst = int(np.argmax(distance[:, dim]))
            others = f", and as wild in {far.sum() - 1:,} more" if far.sum() > 1 else ""
            says = f"action dimension {dim} is {actions[worst, dim]:.4g} in {place(worst)}{others}"
            yield Problem(
                f"{says}, and varies by {usual[dim]:.2g} around {middle[dim]:.4g} elsewhere: it alone decides the "
                "standard deviation, and no other action counts beside it",
                "write NaN there, which means that no action is known, or record it again",
            )
    codes = [np.unique(column) for column in actions.T]
    if all((values == np.floor(values)).all() and 2 < len(values) <= MOST_CODES and values[0] >= 0 for values in codes):
        highest = max(int(values[-1]) for values in codes)
        yield Remark(
            f"action holds the whole numbers 0 to {highest} only; if they are codes of separate actions, write one "
            "column of 0 and 1 for each of them, for the model takes them as quantities"
        )


def _sampled_frame_findings(dataset: Dataset) -> Iterator[Finding]:
    """Look at the first, the middle and the last frame of some episodes; where they are the same, at all between."""
    count = min(dataset.episodes, SAMPLED_EPISODES)
    looked_at = np.linspace(0, dataset.episodes - 1, count).astype(int)
    still, blank, brightest = [], [], 0
    for start in range(0, count, EPISODES_AT_ONCE):
        part = looked_at[start : start + EPISODES_AT_ONCE]
        rows = dataset.offsets[part, None] + (dataset.lengths[part, None] - 1) * [0, 1, 2] // 2
        try:
            frames = dataset.read("pixels", rows.ravel()).reshape(*rows.shape, -1)
            brightest = max(brightest, frames.max())
            for episode, own, seen in zip(part, rows, frames, strict=True):
                if dataset.lengths[episode] > 1 and (seen == seen[0]).all() and _never_changes(dataset, episode):
                    still.append(int(episode))
                else:
                    blank += np.unique(own[is_blank(seen)]).tolist()
        except LewmError as error:
            yield Problem(f"frames of episodes {part[0]:,} to {part[-1]:,} cannot be read: {error}")
            break
    yield from dark_findings(brightest)
    yield from still_findings(still)
    yield from blank_findings(blank)


def _never_changes(dataset: Dataset, episode: int) -> bool:
    first, stop = dataset.offsets[episode], dataset.offsets[episode] + dataset.lengths[episode]
    blocks = (np.arange(start, min(start + ROWS_AT_ONCE, stop)) for start in range(first, stop, ROWS_AT_ONCE))
    frame = dataset.read("pixels", np.array([first]))
    return all((dataset.read("pixels", rows) == frame).all() for rows in blocks)


def is_blank(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """(K,) true for frames (K, ...) of which every value is the same, as HDF5 gives them for what was never written."""
    flat = frames.reshape(len(frames), -1)
    blank: npt.NDArray[np.bool_] = (flat == flat[:, :1]).all(axis=1)
    return blank


def dark_findings(brightest: int) -> Iterator[Finding]:
    """Say that frames are drawn with 1 for white; `brightest` is their largest value."""
    if brightest == 1:
        says = "frames hold 0 and 1 only, and white is 255: to a model they are all black"
        yield Problem(says, "multiply them by 255")


def still_findings(episodes: Sequence[int]) -> Iterator[Finding]:
    """Name episodes in which the camera froze."""
    if len(episodes):
        yield Problem(f"all frames are the same in {counted(len(episodes), 'episode')}: {_named(episodes)}")


def blank_findings(rows: Sequence[int]) -> Iterator[Finding]:
    """Name rows whose frames hold nothing."""
    if len(rows):
        says = f"frames of one even color, as what was never written looks, in {counted(len(rows), 'row')}"
        yield Remark(f"{says}: {_named(sorted(rows))}")


def _named(places: Iterable[object]) -> str:
    every = list(places)
    return ", ".join(map(str, every[:NAMED])) + (", ..." if len(every) > NAMED else "")
