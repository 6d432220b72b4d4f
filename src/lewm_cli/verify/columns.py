"""Checks the columns of a recording: they agree with its episodes, actions are finite, every value can be read."""

from collections.abc import Iterator

import h5py
import numpy as np
import numpy.typing as npt

from lewm_cli.data import HDF5Dataset
from lewm_cli.verify.check import Finding, Problem, Remark

EPISODE_COLUMNS = ("ep_idx", "episode_idx")
STEP_COLUMN = "step_idx"
BOOKKEEPING = ("ep_len", "ep_offset")

NOWHERE = -1
ROWS_AT_ONCE = 65_536

Whole = npt.NDArray[np.int64]


def bookkeeping_findings(dataset: HDF5Dataset) -> Iterator[Finding]:
    """Compare ep_len and ep_offset with the columns that number episodes and steps."""
    episodes = episode_of_rows(dataset)
    columns = {column.name for column in dataset.columns}
    stray = int((episodes == NOWHERE).sum())
    if stray:
        yield Remark(f"{stray:,} rows belong to no episode, first row {int(np.argmin(episodes)):,}")
    for name in EPISODE_COLUMNS:
        if name in columns:
            yield from _episode_numbers(dataset, name, episodes)
    if STEP_COLUMN in columns:
        yield from _steps(dataset, episodes)
    if not columns & {*EPISODE_COLUMNS, STEP_COLUMN}:
        yield Remark("no column numbers episodes or steps, so ep_len and ep_offset have nothing to agree with")


def action_findings(dataset: HDF5Dataset) -> Iterator[Finding]:
    """Check that actions are finite; an episode's last row, after which nothing was done, may be NaN."""
    actions = dataset.read("action", slice(None))
    episodes = episode_of_rows(dataset)
    last = np.zeros(len(actions), bool)
    last[dataset.offsets + dataset.lengths - 1] = True
    missing, endless = np.isnan(actions).any(axis=1), np.isinf(actions).any(axis=1)
    wrong = np.flatnonzero((episodes != NOWHERE) & (endless | (missing & ~last)))
    if len(wrong) == 0:
        return
    if np.isin(wrong, dataset.offsets).all() and not endless[wrong].any():
        yield Problem(f"action is NaN in the first row of {len(wrong):,} episodes; only an episode's last row may be")
        return
    row, episode = wrong[0], episodes[wrong[0]]
    place = f"row {row:,}, step {row - dataset.offsets[episode]} of episode {episode}"
    yield Problem(f"action is not finite in {len(wrong):,} rows, first in {place}")


def column_findings(dataset: HDF5Dataset) -> Iterator[Finding]:
    """Read every other column; name those that hold no information."""
    with dataset.opened() as file:
        frames = len(file["pixels"])
        for name in file:
            item = file.get(name)
            if not isinstance(item, h5py.Dataset) or not item.ndim or name in (*BOOKKEEPING, "pixels"):
                continue
            if len(item) not in (frames, dataset.episodes):
                yield Problem(f"{name} has {len(item):,} rows and pixels have {frames:,}")
            if name != "action":
                yield from _values(item, name)


def episode_of_rows(dataset: HDF5Dataset) -> Whole:
    """(N,) number of the episode that each row of the file belongs to, NOWHERE for rows of none."""
    with dataset.opened() as file:
        episodes = np.full(len(file["pixels"]), NOWHERE)
    for number, (offset, length) in enumerate(zip(dataset.offsets, dataset.lengths, strict=True)):
        episodes[offset : offset + length] = number
    return episodes


def _episode_numbers(dataset: HDF5Dataset, name: str, episodes: Whole) -> Iterator[Problem]:
    """The first reason why a column does not number the episodes, if there is one."""
    numbers = _whole_numbers(dataset, name)
    if numbers is None:
        yield Problem(f"{name} does not hold one whole number per row")
        return
    first, order = numbers[dataset.offsets], np.arange(dataset.episodes)
    inside = episodes != NOWHERE
    changing = np.flatnonzero(inside & (numbers != first[episodes]))
    left_out = np.flatnonzero(~inside & np.isin(numbers, first))
    seen, count = np.unique(first, return_counts=True)
    if len(changing):
        row = changing[0]
        yield Problem(
            f"{name} is {numbers[row]} in row {row:,}, within episode {episodes[row]} that begins with "
            f"{first[episodes[row]]}: ep_len and ep_offset do not agree with it"
        )
    elif len(left_out):
        row = left_out[0]
        yield Problem(f"row {row:,} has {name} {numbers[row]} and lies outside of that episode: ep_len is too short")
    elif count.max() > 1:
        twice = np.flatnonzero(first == seen[count.argmax()])
        yield Problem(f"episodes {twice[0]} and {twice[1]} have the same {name}, {first[twice[0]]}")
    # A selection of episodes may keep its numbers; a complete set of them has to be in order.
    elif np.array_equal(seen, order) and (first != order).any():
        number = np.flatnonzero(first != order)[0]
        yield Problem(f"ep_offset of episode {number} leads to rows with {name} {first[number]}")


def _steps(dataset: HDF5Dataset, episodes: Whole) -> Iterator[Finding]:
    steps = _whole_numbers(dataset, STEP_COLUMN)
    if steps is None:
        yield Problem(f"{STEP_COLUMN} does not hold one whole number per row")
        return
    first = steps[dataset.offsets]
    due = first[episodes] + np.arange(len(steps)) - dataset.offsets[episodes]
    wrong = np.flatnonzero((episodes != NOWHERE) & (steps != due))
    if len(wrong):
        row = wrong[0]
        problem = f"{STEP_COLUMN} does not count up by 1 in episode {episodes[row]}"
        yield Problem(f"{problem}: row {row:,} has {steps[row]}, not {due[row]}")
    late = np.flatnonzero((first != 0) & (first != 1))
    if len(late):
        yield Problem(f"{STEP_COLUMN} of episode {late[0]} begins at {first[late[0]]}, not at 0 or 1")
    from_one = int((first == 1).sum())
    if from_one:
        where = "" if from_one == dataset.episodes else f" in {from_one:,} of {dataset.episodes:,} episodes"
        yield Remark(f"{STEP_COLUMN} begins at 1{where}, as World.collect of stable_worldmodel has it")


def _whole_numbers(dataset: HDF5Dataset, name: str) -> Whole | None:
    values = dataset.read(name, slice(None))
    if values.dtype.kind not in "iuf" or values.size != len(values):
        return None
    values = values.reshape(-1)
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.floor(values))).all():
        return None
    return values.astype(np.int64)


def _values(item: h5py.Dataset, name: str) -> Iterator[Finding]:
    known, endless = 0, 0
    try:
        for start in range(0, len(item), ROWS_AT_ONCE):
            values = item[start : start + ROWS_AT_ONCE]
            if values.dtype.kind == "f":
                known += int((~np.isnan(values)).sum())
                endless += int(np.isinf(values).sum())
    except OSError as error:
        yield Problem(f"column {name} cannot be read ({error})")
        return
    if item.dtype.kind != "f" or not item.size:
        return
    if known == 0:
        yield Remark(f"{name} is NaN throughout")
    if endless:
        yield Remark(f"{name} holds infinity in {endless:,} places")
