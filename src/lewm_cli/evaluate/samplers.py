"""Draws starts: one per episode in turn, or anywhere among the rows, as the authors' code does it."""

from collections.abc import Iterator

import numpy as np

from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError

Start = tuple[int, int]
"""Number of an episode, and a row of it."""


def count_starts(dataset: Dataset, episodes: np.ndarray, offset: int) -> int:
    """Count the rows of these episodes (V,) that have another one `offset` steps later in their episode."""
    return int(np.maximum(0, dataset.lengths[episodes] - offset).sum())


def starts_in_turn(dataset: Dataset, episodes: np.ndarray, *, offset: int, seed: int) -> Iterator[Start]:
    """All starts of the sampler `episodes`: a random one of each episode in random order, then a second of each, ...

    Args:
        dataset: the recording.
        episodes: (V,) numbers of the episodes that may be used.
        offset: environment steps from start to goal.
        seed: of the draw.
    """
    generator = np.random.default_rng(seed)
    valid = {int(episode): int(dataset.lengths[episode]) - offset for episode in episodes}
    steps = {episode: generator.permutation(count).tolist() for episode, count in valid.items() if count > 0}
    order = generator.permutation(sorted(steps)).tolist()
    while order:
        yield from ((episode, int(dataset.offsets[episode]) + steps[episode].pop()) for episode in order)
        order = [episode for episode in order if steps[episode]]


def draw_rows(
    dataset: Dataset, episodes: np.ndarray, *, offset: int, count: int, seed: int, one_short: bool
) -> list[Start]:
    """Starts of the samplers `rows` and `rows-original`, by row: every start is as likely, so long episodes give more.

    Args:
        dataset: the recording.
        episodes: (V,) numbers of the episodes that may be used.
        offset: environment steps from start to goal.
        count: how many; there have to be so many.
        seed: of the draw.
        one_short: never draw the last start of the recording, as the authors' code did until a fix in July. The draw
            depends on the number of starts, so that the fix changed every pair.
    """
    by_row = sorted((int(episode) for episode in episodes), key=lambda episode: dataset.offsets[episode])
    counts = np.maximum(0, dataset.lengths[by_row] - offset)
    owners = np.repeat(by_row, counts)
    firsts = np.repeat(np.cumsum(counts) - counts, counts)
    rows = dataset.offsets[owners] + np.arange(len(owners)) - firsts
    among = len(rows) - 1 if one_short else len(rows)
    chosen = np.sort(np.random.default_rng(seed).choice(among, size=count, replace=False))
    return list(zip(owners[chosen].tolist(), rows[chosen].tolist(), strict=True))


def refuse_too_few(dataset: Dataset, episodes: np.ndarray, *, offset: int, count: int, spare: int = 0) -> None:
    """Check that there are enough starts.

    Raises:
        LewmError: there are fewer than asked for.
    """
    available = max(0, count_starts(dataset, episodes, offset) - spare)
    if available < count:
        raise LewmError(
            f"{count} pairs were asked for, but the {len(episodes)} episodes of {dataset.name} that may be used hold "
            f"{available} starts with a goal {offset} steps later; ask for fewer with --episodes, or record test "
            "episodes and name them with --dataset"
        )
