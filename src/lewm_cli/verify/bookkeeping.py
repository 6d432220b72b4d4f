"""Do the rows of a recording say of themselves what ep_len and ep_offset say of them?"""

from collections.abc import Iterator

import numpy as np

from lewm_cli.data import Dataset
from lewm_cli.verify.check import Finding, Problem, Remark

EPISODE_COLUMNS = ("ep_idx", "episode_idx")
STEP_COLUMN = "step_idx"
NOWHERE = -1


def rows_of_file(dataset: Dataset) -> int:
    """Rows N of the file, those that belong to no episode included."""
    with dataset.opened() as file:
        return len(file["pixels"])


def episode_of_rows(dataset: Dataset) -> np.ndarray:
    """(N,) number of the episode that each row of the file belongs to; -1 for none."""
    episodes = np.full(rows_of_file(dataset), NOWHERE)
    for number, (offset, length) in enumerate(zip(dataset.offsets, dataset.lengths, strict=True)):
        episodes[offset : offset + length] = number
    return episodes


def bookkeeping_findings(dataset: Dataset, again: str) -> Iterator[Finding]:
    """Compare ep_len and ep_offset with the columns that number episodes and steps.

    Args:
        dataset: whose episodes lie apart within the file, as `open_dataset` checks.
        again: how to get it again.
    """
    episodes = episode_of_rows(dataset)
    columns = {column.name for column in dataset.columns}
    stray = int((episodes == NOWHERE).sum())
    if stray:
        yield Remark(f"{stray:,} rows belong to no episode, first row {int(np.argmin(episodes)):,}")
    for name in EPISODE_COLUMNS:
        if name in columns:
            says = _wrong_numbers(dataset, name, episodes)
            if says:
                yield Problem(says, again)
    if STEP_COLUMN in columns:
        yield from _steps(dataset, episodes, again)
    if not columns & {*EPISODE_COLUMNS, STEP_COLUMN}:
        yield Remark("no column numbers episodes or steps, so ep_len and ep_offset have nothing to agree with")


def _wrong_numbers(dataset: Dataset, name: str, episodes: np.ndarray) -> str | None:
    numbers = _whole_numbers(dataset, name)
    if numbers is None:
        return f"{name} does not hold one whole number per row"
    first = numbers[dataset.offsets]
    inside = episodes != NOWHERE
    changing = np.flatnonzero(inside & (numbers != first[episodes]))
    if len(changing):
        row = changing[0]
        begun = first[episodes[row]]
        return (
            f"{name} is {numbers[row]} in row {row:,}, within episode {episodes[row]} that begins with {begun}: "
            "ep_len and ep_offset do not agree with it"
        )
    left_out = np.flatnonzero(~inside & np.isin(numbers, first))
    if len(left_out):
        row = left_out[0]
        return f"row {row:,} has {name} {numbers[row]} and lies outside of that episode: ep_len is too short"
    seen, count = np.unique(first, return_counts=True)
    if count.max() > 1:
        twice = np.flatnonzero(first == seen[count.argmax()])
        return f"episodes {twice[0]} and {twice[1]} have the same {name}, {first[twice[0]]}"
    # A selection of episodes may keep its numbers; a complete set of them has to be in order.
    if set(seen.tolist()) == set(range(dataset.episodes)) and (first != np.arange(dataset.episodes)).any():
        number = int(np.flatnonzero(first != np.arange(dataset.episodes))[0])
        return f"ep_offset of episode {number} leads to rows with {name} {first[number]}"
    return None


def _steps(dataset: Dataset, episodes: np.ndarray, again: str) -> Iterator[Finding]:
    steps = _whole_numbers(dataset, STEP_COLUMN)
    if steps is None:
        yield Problem(f"{STEP_COLUMN} does not hold one whole number per row", again)
        return
    first = steps[dataset.offsets]
    due = first[episodes] + np.arange(len(steps)) - dataset.offsets[episodes]
    wrong = np.flatnonzero((episodes != NOWHERE) & (steps != due))
    if len(wrong):
        row = wrong[0]
        says = f"{STEP_COLUMN} does not count up by 1 in episode {episodes[row]}"
        yield Problem(f"{says}: row {row:,} has {steps[row]}, not {due[row]}", again)
    late = np.flatnonzero((first != 0) & (first != 1))
    if len(late):
        yield Problem(f"{STEP_COLUMN} of episode {late[0]} begins at {first[late[0]]}, not at 0 or 1", again)
    from_one = int((first == 1).sum())
    if from_one:
        which = "" if from_one == dataset.episodes else f" in {from_one:,} of {dataset.episodes:,} episodes"
        yield Remark(f"{STEP_COLUMN} begins at 1{which}, as World.collect of stable_worldmodel has it")


def _whole_numbers(dataset: Dataset, name: str) -> np.ndarray | None:
    values = dataset.read(name, slice(None))
    if values.dtype.kind not in "iuf" or values.size != len(values):
        return None
    values = values.reshape(-1)
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.floor(values))).all():
        return None
    return values.astype(np.int64)
