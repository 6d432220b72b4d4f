"""Start and goal pairs: two rows of one recorded episode, a fixed number of environment steps apart."""

from dataclasses import dataclass

import numpy as np

from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError
from lewm_cli.tasks import Task


@dataclass(frozen=True)
class Pair:
    """One start and its goal.

    Args:
        episode: number of the recorded episode.
        start_row, goal_row: rows of the recording.
        start, goal: recorded states, in the simulator's units.
    """

    episode: int
    start_row: int
    goal_row: int
    start: np.ndarray
    goal: np.ndarray


def draw_pairs(dataset: Dataset, task: Task, episodes: np.ndarray, *, offset: int, count: int, seed: int) -> list[Pair]:
    """Draw pairs, one per episode as long as there are episodes, then a second one of each, and so on.

    Args:
        dataset: the recording.
        task: names the columns that hold states.
        episodes: (V,) numbers of the episodes that may be used.
        offset: environment steps from start to goal.
        count: how many pairs.
        seed: of the draw.

    Raises:
        LewmError: there are fewer valid pairs than asked for, or a state column is missing.
    """
    generator = np.random.default_rng(seed)
    valid = {int(episode): int(dataset.lengths[episode]) - offset for episode in episodes}
    available = sum(max(0, starts) for starts in valid.values())
    if available < count:
        raise LewmError(
            f"{count} pairs were asked for, but the {len(episodes)} episodes of {dataset.name} that may be used hold "
            f"{available} starts with a goal {offset} steps later; ask for fewer with --episodes, or record test "
            "episodes and name them with --dataset"
        )
    starts = {episode: generator.permutation(count_).tolist() for episode, count_ in valid.items() if count_ > 0}
    order = generator.permutation(sorted(starts)).tolist()
    chosen: list[tuple[int, int]] = []
    while len(chosen) < count:
        chosen += [(episode, starts[episode].pop()) for episode in order if starts[episode]]
    rows = [(episode, int(dataset.offsets[episode]) + step) for episode, step in sorted(chosen[:count])]
    return recorded_pairs(dataset, task, [(episode, row, row + offset) for episode, row in rows])


def recorded_pairs(dataset: Dataset, task: Task, rows: list[tuple[int, int, int]]) -> list[Pair]:
    """Pairs by episode number, start row and goal row.

    Raises:
        LewmError: a state column is missing.
    """
    starts = _states(dataset, task.start_columns, np.array([start for _, start, _ in rows]))
    goals = _states(dataset, task.goal_columns, np.array([goal for _, _, goal in rows]))
    return [Pair(*numbers, start, goal) for numbers, start, goal in zip(rows, starts, goals, strict=True)]


def _states(dataset: Dataset, columns: tuple[str, ...], rows: np.ndarray) -> np.ndarray:
    return np.concatenate([dataset.read(name, rows).reshape(len(rows), -1) for name in columns], axis=1)
