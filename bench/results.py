"""Makes docs/results.md: record, train and evaluate tasks from nothing, through the command.

    python bench/results.py TASK... --home .results [--out docs/results.md]
    python bench/results.py TASK... --home .results --methods|--planners

What is done already is not done again, so that an interrupted row goes on; to measure one anew, remove its folder under
`steps` in the home, and its recordings and runs. The page has every row that is finished in the home; `--methods`
compares the methods of the release's table in a section of their own, and `--planners` what is fitted to frozen latents
in another. What every pair of these came to is kept in docs/results-methods.jsonl and docs/results-planners.jsonl, so
that a section grows from one machine to the next; to measure a row anew, remove its lines.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
        policy: that acts in both recordings; the task's own if None.
        method: of training.
        seeds: of training.
    """

    task: str
    train: int
    test: int
    pairs: int
    policy: str | None = None
    method: str = "lewm"
    seeds: tuple[int, ...] = (0, 1, 2)

    @property
    def runs(self) -> tuple[str, ...]:
        """Name of every run, by seed."""
        return tuple(self.run(self.method, seed) for seed in self.seeds)

    def run(self, method: str, seed: int) -> str:
        """Name of the run of a method."""
        return f"{self.task}/{'small' if method == LEWORLDMODEL else method}-seed{seed}"

    def steps(self) -> Iterator[Step]:
        """What has to be done, in order."""
        yield from self.recordings()
        for seed, run in zip(self.seeds, self.runs, strict=True):
            yield training(self.task, run, seed, method=self.method)
            for protocol in PROTOCOLS:
                yield evaluating(run, protocol, self.pairs if protocol == FIRST else OTHER_PAIRS)

    def recordings(self) -> list[Step]:
        """Demonstrations to train on, and others to draw pairs from."""
        policy = ("--policy", self.policy) if self.policy else ()
        return [
            recording(self.task, "demos", self.train, *policy, seed=0),
            recording(self.task, "test", self.test, *policy, seed=1000),
        ]

    def by_method(self, method: str, seed: int) -> list[Step]:
        """What has to be done to compare a method under one training seed, in order, its evaluation last."""
        lewm, run, found = self.run(LEWORLDMODEL, seed), self.run(method, seed), self.recordings()
        if method == LEWORLDMODEL or method in ON_PATCHES:
            found.append(training(self.task, lewm, seed))
        if method != LEWORLDMODEL:
            encoder = ("--encoder", lewm) if method in ON_PATCHES else ()
            found.append(training(self.task, run, seed, *encoder, method=method))
        options = () if method in POLICIES else SMALLER
        return [*found, evaluating(run, FIRST, self.pairs, *options, name=f"{method}-seed{seed}-compared")]

    def by_planner(self, planner: str, seed: int) -> list[Step]:
        """The same for a planner of the row's own run; heads are fitted before."""
        run = self.run(self.method, seed)
        heads = [fitting(run, kind) for kind in ("reach", "prior")]
        options = planners(self.task)[planner]
        if planner != ALONE:
            options = (*FEWER, *options)
        name = f"{planner.replace(', ', '-').replace(' ', '-')}-seed{seed}-planned"
        evaluated = evaluating(run, FIRST, self.pairs, *options, name=name)
        return [*self.recordings(), training(self.task, run, seed, method=self.method), *heads, evaluated]


class Outcomes(Section):
    """What every pair of an evaluation came to: one line of what is kept of a comparison."""

    task: str
    name: str
    """Of the method or the planner."""
    seed: int
    """Of training."""
    versions: dict[str, str]
    episodes: tuple[int, ...]
    """Recorded episode of each pair, in the order of the two texts."""
    success: str
    """A 1 for every pair that was solved, else a 0."""
    random: str
    """The same by random actions."""
    groups: dict[str, str]
    """The same for every kind of pairs, by name: whether a pair belongs to it."""

    @classmethod
    def of(cls, task: str, name: str, seed: int, result: EvalResult) -> Self:
        """Those of the pairs that count."""
        pairs = result.counted()
        return cls(
            task=task,
            name=name,
            seed=seed,
            versions=result.versions,
            episodes=tuple(one.episode for one in pairs),
            success=_text(one.success for one in pairs),
            random=_text(one.random_success for one in pairs),
            groups={group.name: _text(group.name in one.groups for one in pairs) for group in result.groups},
        )


LEWORLDMODEL = "lewm"
POLICIES = ("gcbc", "gcivl", "gciql")
ON_PATCHES = ("dinowm", "dinowm_noprop", *POLICIES)
BASELINES = (LEWORLDMODEL, "pldm", *ON_PATCHES)
"""Methods of the release's table; those on patch tokens see with the frozen encoder of LeWorldModel, seed by seed."""

SMALLER = ("--solver", "icem", "--set", "planner.candidates=100", "--set", "planner.iterations=5")
"""Where methods are compared, a plan of the protocol's size would take hours with some."""

FEWER = ("--set", "planner.iterations=10")
"""Where planners are compared."""

LATENT_DISTANCE, ALONE = "last", "prior alone"


def planners(task: str) -> dict[str, tuple[str, ...]]:
    """What is fitted to the frozen latents of a run, or looked up by them, and the options that are typed for it."""
    reach, path = (("--set", f"planner.objective={objective}") for objective in ("reach", "path"))
    prior = ("--set", "planner.prior=true")
    anchors = ("--set", f"planner.anchors={task}/demos")
    return {
        LATENT_DISTANCE: (),
        "reach": reach,
        "path": path,
        "path, receding 1": (*path, "--receding", "1"),
        "last, shuffled prior": ("--set", "planner.prior=shuffled"),
        "last, prior": prior,
        "last, anchors": anchors,
        "last, prior, anchors": (*prior, *anchors),
        "recorded": ("--solver", "recorded", *anchors),
        ALONE: ("--actor", "prior"),
    }


PROTOCOLS = {
    "heldout": "Goals 25 environment steps ahead, 50 steps allowed; a start that is solved already counts as reached.",
    "moderate": "The same, but no start is solved already, and other [corrections](evaluation.md#protocols).",
}
"""What each is measured by, the headline first."""

FIRST = next(iter(PROTOCOLS))

OTHER_PAIRS = 100
"""By the protocols after the first."""

ROWS = (
    Row("tworoom", train=300, test=300, pairs=300),
    Row("pusht", train=400, test=200, pairs=200, policy="pusher", method="delta"),
    Row("cube", train=60, test=20, pairs=100),
    Row("reacher", train=150, test=50, pairs=200),
)


def recording(task: str, name: str, episodes: int, *options: str, seed: int) -> Step:
    """Demonstrations."""
    size = ("--episodes", str(episodes), "--seed", str(seed), "--name", f"{task}/{name}")
    return Step(name, "recording", ("collect", task, *options, *size))


def training(task: str, run: str, seed: int, *options: str, method: str = LEWORLDMODEL) -> Step:
    """A method at the small preset's size; what an interrupted training left is replaced."""
    where = ("train", task, "--dataset", f"{task}/demos", "--preset", "small", "--method", method)
    how = ("--seed", str(seed), *options, "--name", run, "--overwrite")
    return Step(Path(run).name, "training", (*where, *how))


def fitting(run: str, kind: str) -> Step:
    """A head on the latents of a run."""
    return Step(f"{Path(run).name}-{kind}-head", "training", ("fit", run, "--kind", kind))


def evaluating(run: str, protocol: str, pairs: int, *options: str, name: str | None = None) -> Step:
    """Acting on the test recording, without films."""
    task, _ = run.split("/")
    command = ("eval", run, "--dataset", f"{task}/test", "--protocol", protocol, "--episodes", str(pairs))
    return Step(name or f"{Path(run).name}-{protocol}", "evaluating", (*command, *options, "--record", "0"))


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


@dataclass(frozen=True)
class Comparison:
    """A section of docs/results.md whose rows stand beside one of them, pair by pair.

    Args:
        section: its name, which the file of outcomes has too.
        text: that it begins with.
        names: of the rows, that which the others stand beside first.
        steps: what has to be done for one of a task under one training seed, in order, its evaluation last.
    """

    section: str
    text: str
    names: tuple[str, ...]
    steps: Callable[[Row, str, int], list[Step]]

    def measure(self, home: Path, row: Row, names: Sequence[str], kept: Path) -> None:
        """Measure rows, and keep what their pairs came to; what is kept already is not measured again."""
        for name in names:
            for seed in row.seeds:
                if not any((one.task, one.name, one.seed) == (row.task, name, seed) for one in read_outcomes(kept)):
                    *_, evaluated = [do(home, row.task, step) for step in self.steps(row, name, seed)]
                    result = EvalResult.model_validate_json(evaluated.printed)
                    with kept.open("a", encoding="utf-8") as file:
                        file.write(Outcomes.of(row.task, name, seed, result).model_dump_json() + "\n")

    def page(self, known: Sequence[Outcomes]) -> str:
        """The section: every row whose training seeds are all there, over all pairs and by kind."""
        first, left = self.names[0], []
        columns = ("n", "success", "random", "beats random", f"minus `{first}`, points")
        every = list(headings("task", "row", "training seeds", *columns))
        by_kind = list(headings("task", "pairs", "row", *columns))
        for row in ROWS:
            found = {name: [one for one in known if (one.task, one.name) == (row.task, name)] for name in self.names}
            whole = {name: seeds for name, seeds in found.items() if len(seeds) == len(row.seeds)}
            for name, seeds in whole.items():
                others = whole.get(first) if name != first else None
                every.append(line(row.task, f"`{name}`", len(seeds), *_beside(seeds, others)))
            for group in next(iter(whole.values()))[0].groups if whole else ():
                for name, seeds in whole.items():
                    others = whole.get(first) if name != first else None
                    by_kind.append(line(row.task, group, f"`{name}`", *_beside(seeds, others, group)))
            missing = [f"`{name}`" for name in self.names if name not in whole]
            left += [f"{', '.join(missing) if whole else 'all'} on {row.task}"] if missing else []
        lines = [self.text, "", *every, "", "By kind of pairs:", "", *by_kind]
        return "\n".join([*lines, "", f"Not measured yet: {'; '.join(left)}."] if left else lines)


def _beside(seeds: Sequence[Outcomes], others: Sequence[Outcomes] | None, group: str | None = None) -> Iterator[object]:
    """Pairs, rates, what they show, and the difference to the row that others stand beside, if there is one."""
    chosen = _bits([seeds[0].groups[group]])[0] if group else np.full(len(seeds[0].episodes), True)
    episodes = np.array(seeds[0].episodes)[chosen]
    success, random = (_bits([getattr(one, what) for one in seeds])[:, chosen] for what in ("success", "random"))
    count, rate, baseline, _, verdict = _rates(success, random, episodes)
    yield from (count, rate, baseline, verdict)
    yield Difference.of(success, _bits([one.success for one in others])[:, chosen], episodes) if others else ""


def read_outcomes(kept: Path) -> list[Outcomes]:
    """Everything that is kept, the training seeds of a row in order; ValueError if pairs of a task differ."""
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    found = sorted(map(Outcomes.model_validate_json, lines), key=lambda one: one.seed)
    if len({(one.task, one.episodes, one.random) for one in found}) > len({one.task for one in found}):
        raise ValueError(f"{kept} holds outcomes of different pairs of one task; remove the lines of one kind")
    return found


def _text(outcomes: Iterable[bool]) -> str:
    """A 1 for every true one, else a 0."""
    return "".join(str(int(one)) for one in outcomes)


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
    compared = parser.add_mutually_exclusive_group()
    for comparison in (METHODS, PLANNERS):
        compared.add_argument(
            f"--{comparison.section}",
            dest="comparison",
            action="store_const",
            const=comparison,
            help=f"compare {comparison.section} instead: {', '.join(comparison.names)}",
        )
    arguments = parser.parse_args()
    home, comparison = arguments.home.absolute(), arguments.comparison
    rows = [row for row in ROWS if row.task in arguments.tasks]
    if comparison:
        kept = arguments.out.with_name(f"results-{comparison.section}.jsonl")
        for row in rows:
            comparison.measure(home, row, comparison.names, kept)
        write_section(arguments.out, comparison.section, comparison.page(read_outcomes(kept)))
    else:
        for row in rows:
            for step in row.steps():
                do(home, row.task, step)
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

BY_METHOD = """\
## All methods of the release

Measured by `python bench/results.py TASK... --home .results --methods`. Protocol `heldout` again, with a smaller
search, so that methods that plan on patches can be measured here at all: iCEM with 100 candidates and 5 iterations for
all that plan; policies act in one forward pass per step. DINO-WM and the policies see with the frozen encoder of
LeWorldModel (its patch tokens, the same training seed), not with DINOv2: what is compared is what stands on the tokens.
[Baselines](baselines.md) says what each method is. The difference to `lewm` is pair by pair and seed by seed, and no
interval is corrected for how many there are. What every pair came to, by training seed, is in
[results-methods.jsonl](results-methods.jsonl), to compare another method on the same pairs."""

BY_PLANNER = """\
## What frozen latents give beside the planner

Measured by `python bench/results.py TASK... --home .results --planners`. Protocol `heldout` again, by three training
seeds of `lewm` (`small`), on PushT of `delta` and on recordings of `--policy pusher`, where `lewm` reached 2 to 5 % of
validation pairs. Nothing is trained but [heads on the frozen latents](commands/fit.md): a reachability head that plans
are [judged by](objectives.md), a [prior](planning.md#prior) that searches begin at, [anchors](planning.md#anchors) that
plans aim at, [recorded sequences](planning.md#recorded-sequences) that are ranked in place of sampled ones, and the
prior alone, which does not plan. `cem` with 300 candidates and 10 iterations. All that was measured on these pairs
stands here, and nothing was chosen by them; no interval is corrected for how many there are. What every pair came to is
in [results-planners.jsonl](results-planners.jsonl). [Objectives, measured](objectives-measured.md) has goals that lie
farther ahead, on TwoRoom."""

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

METHODS = Comparison("methods", BY_METHOD, BASELINES, Row.by_method)
PLANNERS = Comparison("planners", BY_PLANNER, tuple(planners("")), Row.by_planner)


if __name__ == "__main__":
    main()
