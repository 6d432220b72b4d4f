"""Start and goal pairs: two rows of one recorded episode, a fixed number of environment steps apart."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np

from lewm_cli.config import EvalProtocol
from lewm_cli.data import Dataset, require_columns
from lewm_cli.errors import LewmError
from lewm_cli.simulate import Pair
from lewm_cli.suggestion import command, few
from lewm_cli.tasks import Simulator, Task

Start = tuple[int, int]
"""Number of an episode, and a row of it."""

LOOKED_AT = 100
"""Pairs looked at for each that is asked for, before too few are reported."""


@dataclass(frozen=True)
class PairFilter:
    """Accepts the pairs that a protocol asks for, of a group or without solved starts."""

    task: Task
    protocol: EvalProtocol

    @cached_property
    def simulator(self) -> Simulator:
        """Knows groups and solved starts, by the protocol's success criterion."""
        assert self.task.make_simulator is not None  # protocols that choose pairs are of tasks with a simulator
        simulator = self.task.make_simulator()
        simulator.judge_by(self.protocol.gate)
        return simulator

    def __call__(self, pair: Pair) -> bool:
        """True if the pair may be drawn."""
        only = self.protocol.only
        if only is not None and only not in self.simulator.groups(pair.start, pair.goal):
            return False
        if self.protocol.solved_starts != "redraw":
            return True
        self.simulator.begin(pair.start, pair.goal)
        return not self.simulator.solved()

    def __str__(self) -> str:
        group = [f"of the group {self.protocol.only!r}"] if self.protocol.only else []
        return " and ".join([*group, *(["not solved at the start"] if self.protocol.solved_starts == "redraw" else [])])


def choose_pairs(dataset: Dataset, task: Task, episodes: np.ndarray, protocol: EvalProtocol) -> list[Pair]:
    """Draw the pairs of a protocol, in the order of their rows.

    Args:
        task: names the columns that hold states; its simulator is asked if the protocol is particular about its pairs.
        episodes: (V,) numbers of the episodes that may be used.

    Raises:
        LewmError: there are fewer valid pairs than asked for, or a state column is missing.
    """
    offset, count, seed = protocol.offset, protocol.pairs, protocol.seed

    def pairs_from(starts: list[Start]) -> list[Pair]:
        return recorded_pairs(dataset, task, [(episode, row, row + offset) for episode, row in starts])

    refuse_missing_states(dataset, task)
    one_short = protocol.sampler == "rows-original"
    available = _starts_at(dataset, episodes, offset) - one_short
    if available < count:
        raise LewmError(
            f"{count} pairs were asked for, but the {len(episodes)} episodes of {dataset.name} that may be used hold "
            f"{max(0, available)} starts with a goal {offset} steps later, for which an episode needs {offset + 1} "
            f"rows (the longest has {dataset.lengths[episodes].max()}); "
            + _way_out(dataset, episodes, protocol, available)
        )
    if protocol.sampler != "episodes":
        starts = draw_rows(dataset, episodes, offset=offset, count=count, seed=seed, one_short=one_short)
        return pairs_from(starts)
    candidates = starts_in_turn(dataset, episodes, offset=offset, seed=seed)
    if not protocol.selects:
        return pairs_from(sorted(islice(candidates, count)))
    wanted = PairFilter(task, protocol)
    found, looked_at = list[Pair](), 0
    while len(found) < count and looked_at < LOOKED_AT * count:
        batch = pairs_from(list(islice(candidates, count)))
        looked_at += len(batch)
        found += filter(wanted, batch)
        if not batch:
            break
    if len(found) < count:
        raise LewmError(
            f"{count} pairs {wanted} were asked for, but of the {looked_at} pairs of {dataset.name} that were looked "
            f"at only {len(found)} are; "
            + ", or ".join([*_fewer(len(found)), "record more test episodes and name them with --dataset"])
        )
    return sorted(found[:count], key=lambda pair: (pair.episode, pair.start_row))


def _starts_at(dataset: Dataset, episodes: np.ndarray, offset: int) -> int:
    """Number of rows with a goal `offset` steps later in the same episode."""
    return int(np.maximum(0, dataset.lengths[episodes] - offset).sum())


def _way_out(dataset: Dataset, episodes: np.ndarray, protocol: EvalProtocol, available: int) -> str:
    """Advises the farthest goals that there are enough of, or fewer pairs."""
    one_short = protocol.sampler == "rows-original"
    starts = {near: _starts_at(dataset, episodes, near) - one_short for near in range(protocol.offset - 1, 0, -1)}
    least = protocol.pairs if available > 0 or max(starts.values(), default=0) >= protocol.pairs else 1
    near = next((near for near, there in starts.items() if there >= least), None)
    fewer = f" --episodes {starts[near]}" if near and least < protocol.pairs else ""
    ways = [f"take nearer goals: --offsets {near}{fewer}"] if near else []
    return ", or ".join([*ways, *_fewer(available), "record longer test episodes and name them with --dataset"])


def _fewer(found: int) -> list[str]:
    return [f"ask for fewer: --episodes {found}"] if found > 0 else []


def recorded_pairs(dataset: Dataset, task: Task, rows: list[tuple[int, int, int]]) -> list[Pair]:
    """Pairs by episode number, start row and goal row.

    Raises:
        LewmError: a state column is missing.
    """
    if not rows:
        return []
    starts = _states(dataset, task.start_columns, np.array([start for _, start, _ in rows]))
    goals = _states(dataset, task.goal_columns, np.array([goal for _, _, goal in rows]))
    return [Pair(*numbers, start, goal) for numbers, start, goal in zip(rows, starts, goals, strict=True)]


def refuse_missing_states(dataset: Dataset, task: Task) -> None:
    """Check that a recording holds what the simulator is put into.

    Raises:
        LewmError: a column is missing, has another width, or was not written to its end, or colors are in none.
    """
    if dataset.varies:
        raise LewmError(
            f"every episode of {dataset.name} has a {dataset.varies} of its own, which no column holds, so the "
            "simulator cannot draw its starts and goals again; name a recording made without --vary with --dataset, "
            "or record one: " + command("collect", task.name, "--episodes", 100, "--seed", 1)
        )
    widths, recorded = dict(task.recognized_by), {column.name: column for column in dataset.columns}
    needed = dict.fromkeys((*task.start_columns, *task.goal_columns))
    for name in needed:
        if name not in recorded:
            raise LewmError(
                f"{dataset.name} has no column {name!r}, from which {task.name} takes starts and goals (it has "
                f"{few(recorded)}); name a recording that has it with --dataset"
            )
        width = int(np.prod(recorded[name].shape))
        if width != widths.get(name, width):
            raise LewmError(
                f"{dataset.name} has {width} numbers in column {name!r}, and {task.name} takes starts and goals from "
                f"{widths[name]}; name another recording with --dataset"
            )
    require_columns(dataset, needed)


def _states(dataset: Dataset, columns: tuple[str, ...], rows: np.ndarray) -> np.ndarray:
    return np.concatenate([dataset.read(name, rows).reshape(len(rows), -1) for name in columns], axis=1)


def starts_in_turn(dataset: Dataset, episodes: np.ndarray, *, offset: int, seed: int) -> Iterator[Start]:
    """All starts of the sampler `episodes`: a random one of each episode in random order, then a second of each, ..."""
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
