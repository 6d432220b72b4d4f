"""Makes docs/objectives-measured.md: success by what judges, begins and leads plans, and by how far goals lie ahead.

    python bench/objectives.py HOME [--run RUN]... [--dataset tworoom/test] [--pairs 100] [--out docs/...]

Runs and recording have to be in HOME: by default those of `bench/results.py tworoom`. Heads are fitted to every run
first. What is done already is not done again, so that an interrupted bench goes on; to measure anew, remove the folder
of the pairs under `steps` in HOME.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, get_args

import numpy as np
import torch

from lewm_cli.config import EvalProtocol, ObjectiveName
from lewm_cli.data import Dataset
from lewm_cli.evaluate import EpisodeResult, EvalResult
from lewm_cli.heads import ReachFit
from lewm_cli.statistics import Difference, Rate
from lewm_cli.store import Home, load_run
from results import ALONE, FEWER, ROWS, Step, do, fitting, headings, line, planners

PLANNERS: dict[str, tuple[str, ...]] = {
    **{objective: ("--set", f"planner.objective={objective}") for objective in get_args(ObjectiveName)},
    **{name: options for name, options in planners("tworoom").items() if name not in get_args(ObjectiveName)},
}
"""Every row of the tables, and the options that are typed for it."""

OFFSETS = (25, 50, 75, 100)
"""Environment steps from start to goal; twice as many are allowed."""

RANDOM = "random actions"

PAIRED = (
    ("reach", "last"),
    ("reach", "reach-imagined"),
    ("probe", "last"),
    ("reach", "probe"),
    ("path", "last"),
    ("last, prior", "last"),
    ("last, prior", ALONE),
    ("last, anchors", "last"),
    ("last, prior, anchors", "last"),
    ("recorded", "last, anchors"),
    ("reach-shuffled", RANDOM),
    ("last, shuffled prior", "last"),
)
"""What is compared, pair by pair."""

FAR = "other room"
"""The group of pairs that has tables of its own."""

RUNS = next(row.runs for row in ROWS if row.task == "tworoom")


@dataclass(frozen=True)
class Bench:
    """What is measured, and where.

    Args:
        home: with the runs and the recording.
        runs: that differ in the seed of their training.
        dataset: recording that pairs are drawn from.
        pairs: of every offset.
    """

    home: Path
    runs: tuple[str, ...]
    dataset: str
    pairs: int

    @property
    def folder(self) -> str:
        """Under which steps are kept."""
        return f"objectives/{self.dataset}-{self.pairs}"

    def steps(self) -> Iterator[Step]:
        """What has to be done, in order."""
        for run in self.runs:
            for kind in ("reach", "prior", "probe"):
                yield fitting(run, kind)
            for planner in PLANNERS:
                yield self.evaluating(run, planner)

    def evaluating(self, run: str, planner: str) -> Step:
        """One planner on all pairs of every offset."""
        where = ("--dataset", self.dataset, "--protocol", "heldout", "--episodes", str(self.pairs))
        offsets = ("--offsets", ",".join(map(str, OFFSETS)))
        iterations = () if planner == ALONE else FEWER
        command = ("eval", run, *where, *offsets, *iterations, *PLANNERS[planner], "--record", "0")
        return Step(f"{run}-{planner.replace(', ', '-')}", "evaluating", command)


@dataclass(frozen=True)
class Measured:
    """What came out.

    Args:
        planners: results of each, by run and then by offset; the same pairs for all of one offset.
        heads: the reachability head of every run.
        made: the recordings and runs, as commands.
        done: heads and evaluations of the first run, as commands.
    """

    planners: dict[str, list[list[EvalResult]]]
    heads: list[ReachFit]
    made: list[str]
    done: list[str]

    @classmethod
    def of(cls, bench: Bench) -> Self:
        """Measure, or read what was measured."""
        done = {step.name: do(bench.home, bench.folder, step) for step in bench.steps()}
        home = Home(bench.home, (bench.home,))
        heads = [ReachFit.model_validate_json(done[fitting(run, "reach").name].printed) for run in bench.runs]
        recordings = dict.fromkeys((*(fit.dataset.name for fit in heads), bench.dataset))
        cards = [load_run(home, run, torch.device("cpu")).card for run in bench.runs]

        def series(run: str, planner: str) -> list[EvalResult]:
            printed = json.loads(done[bench.evaluating(run, planner).name].printed)
            return [EvalResult.model_validate(one) for one in printed]

        return cls(
            planners={planner: [series(run, planner) for run in bench.runs] for planner in PLANNERS},
            heads=heads,
            made=[
                *(recording(home.find_dataset(name)) for name in recordings),
                *(card.provenance.command for card in cards),
            ],
            done=[done[step.name].command for step in bench.steps() if step.command[1] == bench.runs[0]],
        )

    def __post_init__(self) -> None:
        """Refuse what cannot be compared, or was trained on."""
        for number, offset in enumerate(OFFSETS):
            results = [of_run[number] for of_planner in self.planners.values() for of_run in of_planner]
            pairs = {tuple((one.start_row, one.goal_row) for one in result.episodes) for result in results}
            if len(pairs) != 1:
                raise ValueError(f"results of offset {offset} are not of the same pairs")
            if not all(result.held_out for result in results):
                raise ValueError(f"at offset {offset} a run was trained on episodes that it was measured on")

    @property
    def first(self) -> EvalResult:
        """Of the paper's objective, the first run and the nearest goals."""
        return self.planners["last"][0][0]

    def pairs(self, number: int, group: str | None) -> list[EpisodeResult]:
        """The pairs of the offset of that number, as the first run did them."""
        return _of_group(self.planners["last"][0][number], group)

    def success(self, how: str, number: int, group: str | None) -> np.ndarray:
        """Outcomes on the pairs of an offset, (runs, pairs), by a planner or at random."""
        if how == RANDOM:
            # The random policy knows nothing of the weights: it does the same under every run.
            random = [one.random_success for one in self.pairs(number, group)]
            return np.array([random] * len(self.heads))
        return np.array([[one.success for one in _of_group(of_run[number], group)] for of_run in self.planners[how]])

    def rate(self, how: str, number: int, group: str | None) -> Rate:
        """Over all runs."""
        outcomes, episodes = self.success(how, number, group), self._episodes(number, group)
        return Rate.of(outcomes[0] if how == RANDOM else outcomes, episodes)

    def difference(self, this: str, other: str, number: int, group: str | None) -> Difference:
        """Over all runs, pair by pair."""
        outcomes = (self.success(how, number, group) for how in (this, other))
        return Difference.of(*outcomes, self._episodes(number, group))

    def _episodes(self, number: int, group: str | None) -> np.ndarray:
        return np.array([one.episode for one in self.pairs(number, group)])


def recording(dataset: Dataset) -> str:
    """The command that recorded it."""
    return f"lewm collect {dataset.task} --episodes {dataset.episodes} --seed {dataset.seed} --name {dataset.name}"


def _of_group(result: EvalResult, group: str | None) -> list[EpisodeResult]:
    return [one for one in result.episodes if group is None or group in one.groups]


def page(measured: Measured) -> str:
    """docs/objectives-measured.md."""
    lines = [INTRODUCTION, "", *_setting(measured)]
    for title, group in (("All pairs", None), ("Goals in the other room", FAR)):
        lines += ["", f"## {title}", "", *_rates(measured, group), "", *_differences(measured, group)]
    lines += ["", "## Each training seed", "", *_runs(measured), "", HEADS, "", *_heads(measured)]
    lines += ["", "## What was typed", "", "Recordings and runs:", ""]
    lines += [f"    {command}" for command in measured.made]
    lines += ["", "For the first run, and so for the others:", "", *(f"    {command}" for command in measured.done)]
    versions = ", ".join(f"{name} {version}" for name, version in measured.first.versions.items())
    return "\n".join([*lines, "", f"Measured with {versions}.", ""])


def _setting(measured: Measured) -> Iterator[str]:
    first, planner = measured.first, measured.first.protocol.planner
    yield f"- **runs**: {', '.join(fit.run for fit in measured.heads)}"
    yield f"- **pairs**: of {first.dataset.name}, recorded apart: no run was trained on its episodes, no head fitted"
    yield f"- **planner**: {planner.solver}, {planner.candidates} candidates, {planner.iterations} iterations"
    yield f"- **horizon**: {planner.horizon} model steps, of which {planner.receding} are executed before planning anew"


def _ahead(protocols: Sequence[EvalProtocol]) -> list[str]:
    return [f"{one.offset} steps ahead ({one.budget} allowed)" for one in protocols]


def _rates(measured: Measured, group: str | None) -> Iterator[str]:
    numbers = range(len(OFFSETS))
    yield from headings("planner", *_ahead([one.protocol for one in measured.planners["last"][0]]))
    yield line("pairs (episodes)", *(_counted(measured.pairs(number, group)) for number in numbers))
    for how in (*measured.planners, RANDOM):
        yield line(_code(how), *(measured.rate(how, number, group) for number in numbers))


def _counted(pairs: Sequence[EpisodeResult]) -> str:
    return f"{len(pairs)} ({len({one.episode for one in pairs})})"


def _differences(measured: Measured, group: str | None) -> Iterator[str]:
    yield from headings("difference, points", *OFFSETS)
    for this, other in PAIRED:
        cells = (measured.difference(this, other, number, group) for number in range(len(OFFSETS)))
        yield line(f"{_code(this)} - {_code(other)}", *cells)


def _runs(measured: Measured) -> Iterator[str]:
    yield from headings("run", "planner", *OFFSETS)
    for number, head in enumerate(measured.heads):
        for planner, of_planner in measured.planners.items():
            yield line(head.run, _code(planner), *(one.overall.success for one in of_planner[number]))


def _heads(measured: Measured) -> Iterator[str]:
    yield from headings(
        "run", "latents", "reachability head", "imagined ones too", "shuffled labels", "latent distance"
    )
    for fit in measured.heads:
        told = (fit.head, fit.with_imagined, fit.shuffled, fit.latent_distance)
        yield line(fit.run, "encoded", *(one.encoded.correlation for one in told))
        yield line(fit.run, "imagined", *(one.imagined.correlation for one in told))


def _code(how: str) -> str:
    return how if how == RANDOM else f"`{how}`"


def main() -> None:
    """Measure every planner and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("--run", action="append", metavar="RUN", help="of another training seed; repeat it")
    parser.add_argument("--dataset", default="tworoom/test")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("docs/objectives-measured.md"))
    options = parser.parse_args()
    runs = tuple(options.run or RUNS)
    bench = Bench(options.home.absolute(), runs, options.dataset, options.pairs)
    options.out.write_text(page(Measured.of(bench)), encoding="utf-8")


INTRODUCTION = """\
# Objectives, measured

Every number here was measured by `python bench/objectives.py HOME`, which also wrote this page: how often goals are
reached by [what plans are judged by](objectives.md), by [where searches begin](planning.md#prior) and
[what plans aim at](planning.md#anchors), and by how far goals lie ahead. All planners and all training seeds plan for
the same pairs, and differences are pair by pair: an interval that holds 0 shows none, and no interval is corrected for
how many there are. Intervals are 95 %, over training seeds and recorded episodes together; those of random actions and
of one training seed are over episodes."""

HEADS = """\
Before anything is planned: rank correlation with the steps between two frames, of recorded episodes that run and head
have never seen. The earlier frame is encoded, or imagined with recorded actions from an earlier one."""

if __name__ == "__main__":
    main()
