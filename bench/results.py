"""Makes docs/results.md: record, train and evaluate tasks from nothing, through the command.

    python bench/results.py TASK... --home .results [--out docs/results.md]
    python bench/results.py TASK... --home .results --methods

What is done already is not done again, so that an interrupted row goes on; to measure one anew, remove its folder under
`steps` in the home, and its recordings and runs. The page has every row that is finished in the home; `--methods`
compares the methods of the release's table in a section of their own. What every pair of that came to is kept in
docs/results-methods.jsonl, so that the section grows from one machine to the next; to measure a method anew, remove its
lines.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np

from lewm_cli.config import Section
from lewm_cli.evaluate import EpisodeResult, EvalResult
from lewm_cli.files import write_text
from lewm_cli.report import NOT_SHOWN
from lewm_cli.statistics import Difference, Rate
from lewm_cli.workers import available_cores

LEWM = Path(sys.executable).with_name("lewm")

Kind = Literal["recording", "training", "evaluating"]


@dataclass(frozen=True)
class Step:
    """One command of a row.

    Args:
        name: under which it is kept.
        kind: what its seconds count as.
        command: words after `lewm`.
    """

    name: str
    kind: Kind
    command: tuple[str, ...]


class Done(Section):
    """A step that was done, as it is kept in the home."""

    kind: Kind
    command: str
    seconds: float
    """Of the whole command, imports included."""
    cpu_seconds: float | None
    """Of all its processes, which other work beside it hardly changes; None if it was not measured."""
    cores: int
    """That it could use."""
    printed: str
    """By `--json`."""


@dataclass(frozen=True)
class Row:
    """One task: what is recorded, trained and evaluated.

    Args:
        task: its name.
        train: episodes to train on.
        test: episodes to draw pairs from.
        pairs: of start and goal; as many per episode as it takes.
        seeds: of training.
    """

    task: str
    train: int
    test: int
    pairs: int
    seeds: tuple[int, ...] = (0,)

    @property
    def runs(self) -> tuple[str, ...]:
        """Name of every run, by seed."""
        return tuple(f"{self.task}/small-seed{seed}" for seed in self.seeds)

    def steps(self) -> Iterator[Step]:
        """What has to be done, in order."""
        yield recording(self.task, "demos", self.train, seed=0)
        yield recording(self.task, "test", self.test, seed=1000)
        for seed, run in zip(self.seeds, self.runs, strict=True):
            yield training(self.task, run, seed)
            for protocol in PROTOCOLS:
                yield evaluating(run, protocol, self.pairs if protocol == FIRST else OTHER_PAIRS)

    def compared(self, method: str, seed: int) -> list[Step]:
        """What has to be done to compare a method under one training seed, in order, its evaluation last."""
        lewm, name = f"{self.task}/small-seed{seed}", f"{method}-seed{seed}"
        found = [recording(self.task, "demos", self.train, seed=0), recording(self.task, "test", self.test, seed=1000)]
        if method == LEWORLDMODEL or method in ON_PATCHES:
            found.append(training(self.task, lewm, seed))
        run = lewm
        if method != LEWORLDMODEL:
            run = f"{self.task}/{name}"
            encoder = ("--encoder", lewm) if method in ON_PATCHES else ()
            found.append(training(self.task, run, seed, *encoder, method=method))
        planner = () if method in POLICIES else PLANNER
        pairs = ("--dataset", f"{self.task}/test", "--protocol", FIRST, "--episodes", str(self.pairs))
        evaluated = Step(f"{name}-compared", "evaluating", ("eval", run, *pairs, *planner, "--record", "0"))
        return [*found, evaluated]


class Outcomes(Section):
    """What every pair of an evaluation came to: one line of docs/results-methods.jsonl."""

    task: str
    method: str
    seed: int
    """Of training."""
    versions: dict[str, str]
    episodes: tuple[int, ...]
    """Recorded episode of each pair, in the order of the two texts."""
    success: str
    """A 1 for every pair that was solved, else a 0."""
    random: str
    """The same by random actions."""

    @classmethod
    def of(cls, task: str, method: str, seed: int, result: EvalResult) -> Self:
        """Those of the pairs that count."""
        pairs = result.counted()
        return cls(
            task=task,
            method=method,
            seed=seed,
            versions=result.versions,
            episodes=tuple(one.episode for one in pairs),
            success="".join(str(int(one.success)) for one in pairs),
            random="".join(str(int(one.random_success)) for one in pairs),
        )


LEWORLDMODEL = "lewm"
POLICIES = ("gcbc", "gcivl", "gciql")
ON_PATCHES = ("dinowm", "dinowm_noprop", *POLICIES)
BASELINES = (LEWORLDMODEL, "pldm", *ON_PATCHES)
"""Methods of the release's table; those on patch tokens see with the frozen encoder of LeWorldModel, seed by seed."""

PLANNER = ("--solver", "icem", "--set", "planner.candidates=100", "--set", "planner.iterations=5")
"""Where methods are compared, a plan of the protocol's size would take hours with some."""

PROTOCOLS = {
    "heldout": "Goals 25 environment steps ahead, 50 steps allowed; a start that is solved already counts as reached.",
    "moderate": "The same, but no start is solved already, and other [corrections](evaluation.md#protocols).",
}
"""What each is measured by, the headline first."""

FIRST = next(iter(PROTOCOLS))

OTHER_PAIRS = 100
"""By the protocols after the first."""

ROWS = (
    Row("tworoom", train=300, test=300, pairs=300, seeds=(0, 1, 2)),
    Row("pusht", train=300, test=200, pairs=200),
    Row("cube", train=60, test=20, pairs=100),
    Row("reacher", train=150, test=50, pairs=200),
)


def recording(task: str, name: str, episodes: int, seed: int) -> Step:
    """Demonstrations."""
    command = ("collect", task, "--episodes", str(episodes), "--seed", str(seed), "--name", f"{task}/{name}")
    return Step(name, "recording", command)


def training(task: str, run: str, seed: int, *options: str, method: str = LEWORLDMODEL) -> Step:
    """A method at the small preset's size; what an interrupted training left is replaced."""
    where = ("train", task, "--dataset", f"{task}/demos", "--preset", "small", "--method", method)
    how = ("--seed", str(seed), *options, "--name", run, "--overwrite")
    return Step(Path(run).name, "training", (*where, *how))


def evaluating(run: str, protocol: str, pairs: int) -> Step:
    """Planning on the test recording, without films."""
    task, name = run.split("/")
    command = ("eval", run, "--dataset", f"{task}/test", "--protocol", protocol, "--episodes", str(pairs))
    return Step(f"{name}-{protocol}", "evaluating", (*command, "--record", "0"))


def do(home: Path, task: str, step: Step) -> Done:
    """Do a step, or read what came out when it was done."""
    kept = done_path(home, task, step)
    if not kept.exists():
        environment = os.environ | {"STABLEWM_HOME": str(home), "OMP_NUM_THREADS": "1"}
        begun, before = time.monotonic(), _cpu_seconds()
        ran = subprocess.run(
            [LEWM, *step.command, "--json"], env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        done = Done(
            kind=step.kind,
            command=" ".join(("lewm", *step.command)),
            seconds=time.monotonic() - begun,
            cpu_seconds=_cpu_seconds() - before,
            cores=available_cores(),
            printed=ran.stdout,
        )
        write_text(kept, done.model_dump_json())
    return Done.model_validate_json(kept.read_text(encoding="utf-8"))


def _cpu_seconds() -> float:
    """Of all commands so far."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def done_path(home: Path, task: str, step: Step) -> Path:
    """Where it is kept what came out of a step."""
    return home / "steps" / task / f"{step.name}.json"


@dataclass(frozen=True)
class Measured:
    """What came out of a row.

    Args:
        row: what was measured.
        done: every step, in order.
    """

    row: Row
    done: tuple[Done, ...]

    @classmethod
    def found(cls, home: Path, row: Row) -> Self | None:
        """Of a row that is finished in the home, else None."""
        steps = list(row.steps())
        if not all(done_path(home, row.task, step).exists() for step in steps):
            return None
        return cls(row, tuple(do(home, row.task, step) for step in steps))

    def results(self, protocol: str) -> list[EvalResult]:
        """By this protocol, one of each training seed."""
        every = [EvalResult.model_validate_json(one.printed) for one in self.of_kind("evaluating")]
        return [one for one in every if one.protocol.name == protocol]

    def of_kind(self, kind: Kind) -> list[Done]:
        """Steps of one kind."""
        return [one for one in self.done if one.kind == kind]


def page(rows: Sequence[Measured]) -> str:
    """The first section of docs/results.md.

    Args:
        rows: at least one.
    """
    lines = [INTRODUCTION]
    for protocol, purpose in PROTOCOLS.items():
        lines += ["", f"## Protocol `{protocol}`", "", purpose, "", *_headlines(rows, protocol)]
    lines += ["", "## Kinds of pairs", "", KINDS, "", *_groups(rows)]
    lines += ["", "## Each training seed", "", *_seeds(rows), "", "## What it took", "", TOOK, "", *_times(rows)]
    newest = max((one for row in rows for one in row.results(FIRST)), key=lambda one: one.time)
    versions = ", ".join(f"{name} {version}" for name, version in newest.versions.items())
    lines += ["", f"Measured with {versions}.", "", *_commands(rows), NOTES]
    return "\n".join(lines)


def _headlines(rows: Sequence[Measured], protocol: str) -> Iterator[str]:
    yield from headings("task", "training seeds", "pairs", "success", "random", "above random, points", "beats random")
    for measured in rows:
        results = measured.results(protocol)
        yield line(measured.row.task, len(results), *_cells([one.counted() for one in results]))


def comparison(known: Sequence[Outcomes]) -> str:
    """The second section: every method whose seeds are all finished, beside LeWorldModel."""
    lines, left = [COMPARED, ""], []
    lines += headings("task", "method", "training seeds", "success", "random", "beats random", "minus `lewm`, points")
    for row in ROWS:
        every = {method: [one for one in known if (one.task, one.method) == (row.task, method)] for method in BASELINES}
        compared = {method: found for method, found in every.items() if len(found) == len(row.seeds)}
        for method, found in compared.items():
            success, episodes = _bits([one.success for one in found]), np.array(found[0].episodes)
            _, rate, random, _, verdict = _rates(success, _bits([one.random for one in found]), episodes)
            difference: object = ""
            if method != LEWORLDMODEL and LEWORLDMODEL in compared:
                theirs = _bits([one.success for one in compared[LEWORLDMODEL]])
                difference = Difference.of(success, theirs, episodes)
            lines.append(line(row.task, f"`{method}`", len(found), rate, random, verdict, difference))
        missing = [f"`{method}`" for method in BASELINES if method not in compared]
        left += [f"{', '.join(missing) if compared else 'all'} on {row.task}"] if missing else []
    return "\n".join([*lines, "", f"Not measured yet: {'; '.join(left)}."] if left else lines)


def compare(home: Path, row: Row, methods: Sequence[str], kept: Path) -> None:
    """Measure methods, and keep what their pairs came to; what is kept already is not measured again."""
    for method in methods:
        for seed in row.seeds:
            if not any((one.task, one.method, one.seed) == (row.task, method, seed) for one in read_outcomes(kept)):
                *_, evaluated = [do(home, row.task, step) for step in row.compared(method, seed)]
                result = EvalResult.model_validate_json(evaluated.printed)
                with kept.open("a", encoding="utf-8") as file:
                    file.write(Outcomes.of(row.task, method, seed, result).model_dump_json() + "\n")


def read_outcomes(kept: Path) -> list[Outcomes]:
    """Everything that is kept, the training seeds of a method in order; ValueError if pairs of a task differ."""
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    found = sorted(map(Outcomes.model_validate_json, lines), key=lambda one: one.seed)
    if len({(one.task, one.episodes, one.random) for one in found}) > len({one.task for one in found}):
        raise ValueError(f"{kept} holds outcomes of different pairs of one task; remove the lines of one kind")
    return found


def _bits(texts: Sequence[str]) -> np.ndarray:
    """True for every 1: texts of one length to (S, N)."""
    return np.array([[character == "1" for character in text] for text in texts])


def _groups(rows: Sequence[Measured]) -> Iterator[str]:
    yield from headings("task", "pairs", "n", "success", "random", "above random, points", "beats random")
    for measured in rows:
        results = measured.results(FIRST)
        every = [one.episodes for one in results]
        if results[0].not_solved:
            unsolved = [[one for one in each if not one.solved_at_start] for each in every]
            yield line(measured.row.task, results[0].not_solved.name, *_cells(unsolved))
        for group in results[0].groups:
            chosen = [[one for one in each if group.name in one.groups] for each in every]
            yield line(measured.row.task, group.name, *_cells(chosen))


def _cells(seeds: Sequence[Sequence[EpisodeResult]]) -> tuple[object, ...]:
    """Pairs, rates and difference over all training seeds, and what that shows; outcomes are of the same pairs."""
    success = np.array([[one.success for one in each] for each in seeds])
    random = np.array([[one.random_success for one in each] for each in seeds])
    return _rates(success, random, np.array([one.episode for one in seeds[0]]))


def _rates(success: np.ndarray, random: np.ndarray, episodes: np.ndarray) -> tuple[object, ...]:
    """The same of outcomes (S, N) by training seed and pair."""
    above = Difference.of(success, random, episodes)
    # The random policy knows nothing of the weights: it does the same under every training seed.
    baseline = Rate.of(random[0], episodes)
    verdict = "yes" if above.shown else f"**{NOT_SHOWN}**"
    return len(episodes), Rate.of(success, episodes), baseline, above, verdict


def _seeds(rows: Sequence[Measured]) -> Iterator[str]:
    yield from headings("run", *(f"success, {protocol}" for protocol in PROTOCOLS), "training", "s per plan")
    for measured in rows:
        results = zip(*(measured.results(protocol) for protocol in PROTOCOLS), strict=True)
        for trained, of_run in zip(measured.of_kind("training"), results, strict=True):
            rates = [one.overall.success for one in of_run]
            yield line(of_run[0].run, *rates, minutes([trained]), f"{of_run[0].seconds_per_plan:.3f}")


def _times(rows: Sequence[Measured]) -> Iterator[str]:
    kinds = get_args(Kind)
    yield from headings("task", "recorded episodes", *kinds, "all", "cores")
    for measured in rows:
        spent = [minutes(steps) for steps in (*map(measured.of_kind, kinds), measured.done)]
        cores = sorted({one.cores for one in measured.done})
        episodes = f"{measured.row.train} + {measured.row.test}"
        yield line(measured.row.task, episodes, *spent, " or ".join(map(str, cores)))


def minutes(steps: Sequence[Done]) -> str:
    """That steps took together, and in brackets those of processors."""
    wall = sum(one.seconds for one in steps) / 60
    if any(one.cpu_seconds is None for one in steps):
        return f"{wall:.1f}"
    return f"{wall:.1f} ({sum(one.cpu_seconds for one in steps) / 60:.1f})"


def _commands(rows: Sequence[Measured]) -> Iterator[str]:
    for measured in rows:
        yield from (f"`python bench/results.py {measured.row.task} --home .results` typed:", "")
        yield from (f"    {one.command}" for one in measured.done)
        yield ""


def headings(*cells: str) -> Iterator[str]:
    """The first two lines of a table."""
    yield line(*cells)
    yield f"|{'---|' * len(cells)}"


def line(*cells: object) -> str:
    """One line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def write_section(path: Path, name: str, text: str) -> None:
    """Puts a section between its markers, which are added at the end if the page has none."""
    page = path.read_text(encoding="utf-8") if path.exists() else "# Performance\n"
    section = f"<!-- {name} -->\n{text.rstrip()}\n<!-- /{name} -->"
    place = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
    page = place.sub(lambda _: section, page) if place.search(page) else f"{page.rstrip()}\n\n{section}\n"
    path.write_text(page, encoding="utf-8")


def rows_of(home: Path) -> list[Measured]:
    """Every row that is finished in a home."""
    return [measured for row in ROWS if (measured := Measured.found(home, row))]


def main() -> None:
    """Measure rows and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="+", metavar="TASK", choices=[row.task for row in ROWS])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--methods", action="store_true", help="compare the methods of the release's table instead")
    arguments = parser.parse_args()
    home, kept = arguments.home.absolute(), arguments.out.with_name("results-methods.jsonl")
    for row in (row for row in ROWS if row.task in arguments.tasks):
        if arguments.methods:
            compare(home, row, BASELINES, kept)
        else:
            for step in row.steps():
                do(home, row.task, step)
    if arguments.methods:
        write_section(arguments.out, "methods", comparison(read_outcomes(kept)))
    else:
        write_section(arguments.out, "tasks", page(rows_of(home)))


INTRODUCTION = """\
# Results

Every number here was measured by `python bench/results.py TASK... --home .results`, which also wrote this page. One
task is one row: its own recordings, made here, LeWorldModel (`--method lewm`) by the `small` preset, one evaluation of
every training seed by each protocol. [Methods, compared](methods.md) has the other methods, one of which the preset may
take by itself. `make results` measures all of them, `make results-pusht` one; what is done already is not done again.

These are models for a laptop, 0.2 million parameters after minutes of training, and not the released ones:
[Evaluation](evaluation.md#the-published-numbers) has the published numbers and the commands that measure the released
weights. [Results on TwoRoom](results-tworoom.md) varies the size of the latent and lambda.

Recordings to train on (`--seed 0`) and to test on (`--seed 1000`) share no episode, and neither pairs nor rates of the
test recording were looked at to choose a preset: `task.toml` of each task says what was tried, on other recordings. A
model *beats random* where the interval of its paired difference to the random policy, on the same pairs, lies above 0.
Intervals are 95 %: over episodes, and where there are several training seeds over seeds and episodes together."""

COMPARED = """\
## All methods of the release

Measured by `python bench/results.py TASK... --home .results --methods`. Protocol `heldout` again, with a smaller
search, so that methods that plan on patches can be measured here at all: iCEM with 100 candidates and 5 iterations for
all that plan; policies act in one forward pass per step. DINO-WM and the policies see with the frozen encoder of
LeWorldModel (its patch tokens, the same training seed), not with DINOv2: what is compared is what stands on the tokens.
[Baselines](baselines.md) says what each method is. The difference to `lewm` is pair by pair and seed by seed, and no
interval is corrected for how many there are. What every pair came to, by training seed, is in
[results-methods.jsonl](results-methods.jsonl), to compare another method on the same pairs."""

KINDS = """\
Protocol `heldout`: pairs whose start was not solved already, and the groups that each task tells apart
([what they are](evaluation.md#what-is-printed))."""

TOOK = """\
Minutes of the commands below, imports included, and in brackets minutes of processor time, all processes together,
where that was measured. The machine has two cores and no GPU, and had much other work at the same time, so that most of
the minutes are waiting: on an idle machine a step takes about its processor time, divided by the cores where it records
or evaluates."""

NOTES = """\
## How to read this

- **A rate without its baseline means nothing.** On Cube and TwoRoom many recorded goals lie where the start is, so that
  any policy reaches them; on Reacher random actions come by. What the model adds is the paired difference.
- **Not shown to beat random** does not say that a model is no better, only that these pairs cannot tell. Look at how
  wide the interval is: 100 pairs of 20 episodes say less than 300 pairs of 300.
- **One seed of training** is one model, and another seed gives another: TwoRoom's three say how much they differ there.
- **Small models plan small things**: [what to expect of them](evaluation.md#what-to-expect-of-small-models).
"""


if __name__ == "__main__":
    main()
