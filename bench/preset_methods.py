"""Chooses the method of the `small` preset of every task but TwoRoom, on recordings of their own.

    python bench/preset_methods.py HOME [--jobs 2] [TASK ...]

Every method is trained once with the lambda that was chosen on TwoRoom, and measured on a validation recording. The
best of them and `lewm` are then trained with two more seeds. What is done already is not done again; `bench/methods.py`
has the outcome on its page.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from lewm_cli.evaluate import EvalResult
from lewm_cli.statistics import Difference, Rate
from results import ROWS, SMALLER, Row, Step, do, done_path, headings, line, recording

WEIGHTS = {"lewm": 0.03, "delta": 10.0, "inverse": 1.0, "pldm": 0.1}
"""Lambda of each method: that of TwoRoom's preset."""

FIRST = "lewm"
SEEDS = (0, 1, 2)
VALIDATION_SEED = 500
TASKS = {row.task: row for row in ROWS if row.task != "tworoom"}


@dataclass(frozen=True)
class Entry:
    """One training of a task's preset, and its evaluation."""

    row: Row
    method: str
    seed: int

    @property
    def steps(self) -> tuple[Step, Step]:
        """Its training and its evaluation."""
        task, name = self.row.task, f"{self.method}-seed{self.seed}"
        where = ("train", task, "--dataset", f"{task}/demos", "--preset", "small", "--seed", str(self.seed))
        what = ("--method", self.method, "--lambda", f"{WEIGHTS[self.method]:g}", "--name", f"{task}/{name}")
        pairs = ("--dataset", f"{task}/validation", "--protocol", "heldout", "--episodes", str(self.row.pairs))
        how = (*SMALLER, "--record", "0", "--workers", "1")
        return (
            Step(name, "training", (*where, *what, "--overwrite")),
            Step(f"{name}-validation", "evaluating", ("eval", f"{task}/{name}", *pairs, *how)),
        )


@dataclass(frozen=True)
class Choice:
    """What was measured for the preset of a task."""

    home: Path
    row: Row

    @property
    def folder(self) -> str:
        """Under which its steps are kept."""
        return f"methods-{self.row.task}"

    @property
    def recordings(self) -> list[Step]:
        """Demonstrations to train on, and to choose with."""
        validation = recording(self.row.task, "validation", self.row.test, seed=VALIDATION_SEED)
        return [recording(self.row.task, "demos", self.row.train, seed=0), validation]

    @property
    def screened(self) -> list[Entry]:
        """Every method, trained once."""
        return [Entry(self.row, method, SEEDS[0]) for method in WEIGHTS]

    @property
    def repeated(self) -> list[Entry]:
        """The further seeds of LeWorldModel and of the best other method."""
        return [Entry(self.row, method, seed) for method in (FIRST, self.best) for seed in SEEDS[1:]]

    @cached_property
    def best(self) -> str:
        """The other method with the most successes of its first seed."""
        return max((one for one in WEIGHTS if one != FIRST), key=lambda method: self.rate(method, SEEDS[:1]).rate)

    @property
    def finished(self) -> bool:
        """True if nothing is left to do."""
        return self._kept(self.screened) and self._kept(self.repeated)

    @property
    def taken(self) -> str:
        """The method that the preset takes: LeWorldModel's, if no other is shown to be better."""
        difference = self.over_first(self.best, SEEDS)
        return self.best if difference.low > 0 else FIRST

    def work(self, entries: Sequence[Entry], jobs: int) -> None:
        """Train and evaluate, so many at a time."""
        with Pool(jobs) as pool:
            pool.map(partial(_work, self.home, self.folder), [one.steps for one in entries], chunksize=1)

    def result(self, method: str, seed: int) -> EvalResult:
        """On the validation recording."""
        printed = do(self.home, self.folder, Entry(self.row, method, seed).steps[1]).printed
        return EvalResult.model_validate(json.loads(printed))

    def rate(self, method: str, seeds: Sequence[int]) -> Rate:
        """Success over these seeds."""
        return Rate.of(self._success(method, seeds), self._episodes)

    def over_first(self, method: str, seeds: Sequence[int]) -> Difference:
        """The success of a method minus that of LeWorldModel, pair by pair and seed by seed."""
        return Difference.of(self._success(method, seeds), self._success(FIRST, seeds), self._episodes)

    @property
    def floor(self) -> Rate:
        """Success of random actions on the same pairs."""
        pairs = self.result(FIRST, SEEDS[0]).episodes
        return Rate.of(np.array([one.random_success for one in pairs]), self._episodes)

    @property
    def _episodes(self) -> np.ndarray:
        return np.array([one.episode for one in self.result(FIRST, SEEDS[0]).episodes])

    def _success(self, method: str, seeds: Sequence[int]) -> np.ndarray:
        return np.array([[one.success for one in self.result(method, seed).episodes] for seed in seeds])

    def _kept(self, entries: Sequence[Entry]) -> bool:
        return all(done_path(self.home, self.folder, step).exists() for one in entries for step in one.steps)


def _work(home: Path, folder: str, steps: Sequence[Step]) -> None:
    for step in steps:
        do(home, folder, step)


def lines(home: Path) -> Iterator[str]:
    """The outcome of every task that is finished, as a table; the others are named below it."""
    choices = [Choice(home, row) for row in TASKS.values()]
    finished = [one for one in choices if one.finished]
    if finished:
        yield from headings("task", "method", "one seed", "three seeds", "minus `lewm`", "the preset takes")
    for choice in finished:
        for method in WEIGHTS:
            thrice = method in (FIRST, choice.best)
            rates = choice.rate(method, SEEDS[:1]), choice.rate(method, SEEDS) if thrice else "-"
            difference = choice.over_first(method, SEEDS) if method == choice.best else "-"
            taken = f"`{choice.taken}`" if method == FIRST else ""
            yield line(choice.row.task, f"`{method}`", *rates, difference, taken)
        yield line(choice.row.task, "random actions", choice.floor, "-", "-", "")
    left = [one.row.task for one in choices if not one.finished]
    if left:
        yield from ("", f"Not measured yet: {', '.join(left)}.")


def main() -> None:
    """Measure tasks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("tasks", nargs="*", metavar="TASK")
    parser.add_argument("--jobs", type=int, default=2, help="commands at a time")
    options = parser.parse_args()
    for task in options.tasks or TASKS:
        choice = Choice(options.home.absolute(), TASKS[task])
        with Pool(options.jobs) as pool:
            pool.map(partial(_work, choice.home, choice.folder), [(one,) for one in choice.recordings], chunksize=1)
        choice.work(choice.screened, options.jobs)
        choice.work(choice.repeated, options.jobs)
        print(task, "takes", choice.taken, flush=True)


if __name__ == "__main__":
    main()
