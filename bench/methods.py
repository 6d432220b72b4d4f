"""Makes docs/methods.md: every training method on TwoRoom, by the size of the latent, on the same pairs.

    python bench/methods.py HOME [--jobs 2] [--out docs/methods.md]

First the weight of each method's own regularizer is chosen on a recording of its own, then every method is trained with
three seeds and measured on a third recording. What is done already is not done again, so that an interrupted bench goes
on; the page has what is finished.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing import Pool
from pathlib import Path
from statistics import median

import numpy as np
from matplotlib.figure import Figure

import preset_methods
from lewm_cli.evaluate import EpisodeResult, EvalResult
from lewm_cli.probe import ProbeResult
from lewm_cli.statistics import Difference, Rate
from lewm_cli.train import HeldOutLatents
from results import SMALLER, Done, Step, do, done_path, headings, line

TASK = "tworoom"
LATENTS = (8, 64, 192)
METHODS = ("lewm", "delta", "inverse", "pldm", "prediction")
SEEDS = (0, 1, 2)
OFFSETS = (25, 100)
OBJECTIVES = ("last", "reach")
PAIRS = 300

CANDIDATES = {
    "lewm": (0.003, 0.03),
    "pldm": (0.01, 0.1, 1.0),
    "delta": (1.0, 10.0, 100.0),
    "inverse": (0.1, 1.0, 10.0),
}
"""Values of lambda that are tried, by method."""

CHOSEN_AT = (8, 64)
"""Latent sizes at which they are tried, with one training seed each: all at the first, the best two at the second."""

CHOOSING_PAIRS = 100

ADDED = {"cosine": 0.5, "straightness": 0.1, "rollout": 1.0}
"""Additions to LeWorldModel's objective, with the weights of their papers; that of `rollout` is of no paper."""

ADDED_AT = (8,)

PICTURED = 8
"""Latent size of the picture."""

RECORDINGS = {"demos": (300, 0), "validation": (200, 500), "test": (520, 1000)}
"""Episodes and seed of each."""


@dataclass(frozen=True)
class Variant:
    """One configuration of the `small` preset.

    Args:
        method: that is trained.
        latent: dimension of the latent space.
        seed: of training.
        weight: lambda; None for a method without.
        addition: to the objective, with its weight in `ADDED`.
    """

    method: str
    latent: int
    seed: int
    weight: float | None = None
    addition: str | None = None

    @property
    def run(self) -> str:
        """Name of its run."""
        weight = None if self.weight is None else f"{self.weight:g}".replace(".", "_")
        words = (self.method, weight, self.addition, f"latent{self.latent}", f"seed{self.seed}")
        return f"{TASK}/{'-'.join(word for word in words if word)}"

    @property
    def training(self) -> Step:
        """Its training."""
        options = ["--method", self.method, "--set", f"model.latent={self.latent}"]
        if self.weight is not None:
            options += ["--lambda", f"{self.weight:g}"]
        if self.addition:
            options += ["--set", f"objective.{self.addition}={ADDED[self.addition]:g}"]
        where = ("train", TASK, "--dataset", f"{TASK}/demos", "--preset", "small", "--seed", str(self.seed))
        return self._step("", "training", *where, *options, "--name", self.run, "--overwrite")

    @property
    def fitting(self) -> Step:
        """Its reachability head."""
        return self._step("-reach-head", "training", "fit", self.run, "--kind", "reach")

    @property
    def probing(self) -> Step:
        """What can be read off its latents."""
        return self._step("-probe", "evaluating", "probe", self.run, "--dataset", f"{TASK}/test")

    def evaluating(self, dataset: str, objective: str, pairs: int) -> Step:
        """Success on a recording, by what plans are judged by."""
        where = ("eval", self.run, "--dataset", f"{TASK}/{dataset}", "--protocol", "heldout", "--episodes", str(pairs))
        how = ("--offsets", ",".join(map(str, OFFSETS)), *SMALLER, "--set", f"planner.objective={objective}")
        return self._step(f"-{dataset}-{objective}", "evaluating", *where, *how, "--record", "0", "--workers", "1")

    def _step(self, suffix: str, kind: str, *command: str) -> Step:
        return Step(f"{self.run.removeprefix(f'{TASK}/')}{suffix}", kind, command)

    @property
    def tried(self) -> tuple[Step, ...]:
        """What has to be done to choose its lambda."""
        return self.training, self.evaluating("validation", "last", CHOOSING_PAIRS)

    @property
    def measured(self) -> tuple[Step, ...]:
        """What has to be done to measure it."""
        return (
            self.training,
            self.evaluating("test", "last", PAIRS),
            self.fitting,
            self.evaluating("test", "reach", PAIRS),
        )


def recordings() -> list[Step]:
    """Demonstrations to train on, to choose with, and to measure on."""
    return [
        Step(
            name,
            "recording",
            ("collect", TASK, "--episodes", str(many), "--seed", str(seed), "--name", f"{TASK}/{name}"),
        )
        for name, (many, seed) in RECORDINGS.items()
    ]


def tried(home: Path, variant: Variant) -> float:
    """Successes on the validation recording, the sum of the rates of all offsets; -1 if the latents have collapsed."""
    trained, evaluated = (do(home, FOLDER, step) for step in variant.tried)
    if held_out(trained).collapsed:
        return -1.0
    return sum(one.overall.success.rate for one in results(evaluated))


def promising(home: Path) -> dict[str, list[float]]:
    """The two best lambdas of each method at the first size."""
    found = {}
    for method, weights in CANDIDATES.items():
        scores = {weight: tried(home, Variant(method, CHOSEN_AT[0], 0, weight)) for weight in weights}
        found[method] = sorted((one for one in weights if scores[one] >= 0), key=scores.__getitem__)[-2:]
        if not found[method]:
            raise ValueError(f"the latents of {method} collapse with every lambda that was tried; try others")
    return found


def choose(home: Path) -> dict[tuple[str, int], float]:
    """The lambda with the most successes on the validation recording, by method and latent size.

    A size at which none was tried takes that of the largest one that was.
    """
    at_first, then = CHOSEN_AT
    going_on = promising(home)
    chosen = {}
    for method, weights in going_on.items():
        chosen[method, at_first] = weights[-1]
        best = max(weights, key=lambda weight: tried(home, Variant(method, then, 0, weight)))
        chosen |= {(method, latent): best for latent in LATENTS if latent != at_first}
    return chosen


def held_out(trained: Done) -> HeldOutLatents:
    """How the latents of held-out clips were when training ended."""
    return HeldOutLatents(**json.loads(trained.printed)["held_out"])


def results(done: Done) -> list[EvalResult]:
    """Of an evaluation, by offset."""
    return [EvalResult.model_validate(one) for one in json.loads(done.printed)]


FOLDER = "methods"


def work(home: Path, steps: Sequence[Step]) -> None:
    """Do steps one after the other."""
    for step in steps:
        do(home, FOLDER, step)


def in_parallel(home: Path, jobs: int, chains: Sequence[Sequence[Step]]) -> None:
    """Do chains of steps, so many at a time."""
    with Pool(jobs) as pool:
        for _ in pool.imap_unordered(partial(work, home), chains, chunksize=1):
            pass


def variants(chosen: dict[tuple[str, int], float]) -> list[Variant]:
    """Everything that is measured, the most wanted first."""
    plain = [
        Variant(method, latent, seed, chosen.get((method, latent)))
        for latent in LATENTS
        for method in METHODS
        for seed in SEEDS
    ]
    added = [
        Variant("lewm", latent, seed, chosen["lewm", latent], addition)
        for latent in ADDED_AT
        for addition in ADDED
        for seed in SEEDS
    ]
    return [*plain, *added]


def deciding(chosen: dict[tuple[str, int], float]) -> dict[str, list[Step]]:
    """Evaluations on the validation recording that decide which method the preset takes, by method and seed."""
    latent = CHOSEN_AT[0]
    return {
        method: [Variant(method, latent, seed, chosen[method, latent]).tried[1] for seed in SEEDS]
        for method in METHODS
        if (method, latent) in chosen
    }


@dataclass(frozen=True)
class Group:
    """One configuration over its training seeds, all of them measured.

    Args:
        title: for tables.
        variants: that differ in the seed.
        home: where they were measured.
    """

    title: str
    variants: tuple[Variant, ...]
    home: Path

    @cached_property
    def of_objective(self) -> dict[str, list[list[EvalResult]]]:
        """Results by objective, then by seed, then by offset; the same pairs for all of one offset."""
        return {
            objective: [
                results(do(self.home, FOLDER, one.evaluating("test", objective, PAIRS))) for one in self.variants
            ]
            for objective in OBJECTIVES
        }

    @cached_property
    def trainings(self) -> list[Done]:
        """Of each seed."""
        return [do(self.home, FOLDER, one.training) for one in self.variants]

    @property
    def held_out(self) -> list[HeldOutLatents]:
        """How the latents of held-out clips were when training ended, by seed."""
        return [held_out(one) for one in self.trainings]

    @property
    def plain(self) -> bool:
        """True if nothing was added to the method."""
        return self.variants[0].addition is None

    @property
    def probes(self) -> list[ProbeResult]:
        """Of the seeds that were probed."""
        steps = [one.probing for one in self.variants]
        done = [do(self.home, FOLDER, step) for step in steps if done_path(self.home, FOLDER, step).exists()]
        return [ProbeResult.model_validate_json(one.printed) for one in done]

    def success(self, objective: str, offset: int) -> np.ndarray:
        """Outcomes (seeds, pairs)."""
        number = OFFSETS.index(offset)
        return np.array([[one.success for one in of_seed[number].episodes] for of_seed in self.of_objective[objective]])

    def pairs(self, offset: int) -> list[EpisodeResult]:
        """The pairs of an offset, as the first seed did them."""
        return list(self.of_objective["last"][0][OFFSETS.index(offset)].episodes)

    def rate(self, objective: str, offset: int) -> Rate:
        """Over all seeds."""
        return Rate.of(self.success(objective, offset), _episodes(self.pairs(offset)))

    def over(self, other: "Group", objective: str, offset: int) -> Difference:
        """This minus the other, pair by pair and seed by seed."""
        outcomes = (one.success(objective, offset) for one in (self, other))
        return Difference.of(*outcomes, _episodes(self.pairs(offset)))


def _episodes(pairs: Sequence[EpisodeResult]) -> np.ndarray:
    return np.array([one.episode for one in pairs])


@dataclass(frozen=True)
class Measured:
    """What is finished.

    Args:
        home: where it was measured.
        chosen: lambda by method and latent size.
    """

    home: Path
    chosen: dict[tuple[str, int], float]

    @cached_property
    def groups(self) -> dict[tuple[int, str], Group]:
        """By latent size and title; those all of whose seeds are done."""
        found: dict[tuple[int, str], list[Variant]] = {}
        for one in variants(self.chosen):
            found.setdefault((one.latent, title(one)), []).append(one)
        return {
            key: Group(key[1], tuple(of_seed), self.home)
            for key, of_seed in found.items()
            if all(done_path(self.home, FOLDER, step).exists() for one in of_seed for step in one.measured)
        }

    def of(self, latent: int) -> list[Group]:
        """Every group of a size, that of LeWorldModel first."""
        return [group for (size, _), group in self.groups.items() if size == latent]

    @property
    def latents(self) -> list[int]:
        """Sizes of which LeWorldModel is finished, with which the others are compared."""
        return [latent for latent in LATENTS if (latent, LEWM) in self.groups]

    def check(self) -> None:
        """Refuse what cannot be compared, or was trained on."""
        for number, offset in enumerate(OFFSETS):
            every = [
                of_seed[number]
                for one in self.groups.values()
                for each in one.of_objective.values()
                for of_seed in each
            ]
            if len({tuple((one.start_row, one.goal_row) for one in result.episodes) for result in every}) > 1:
                raise ValueError(f"results of offset {offset} are not of the same pairs")
            if not all(result.held_out for result in every):
                raise ValueError(f"at offset {offset} a run was trained on episodes that it was measured on")


LEWM = "`lewm`"


def title(variant: Variant) -> str:
    """For tables: the method, and what was added."""
    return f"`{variant.method}` + {variant.addition}" if variant.addition else f"`{variant.method}`"


def page(measured: Measured) -> str:
    """docs/methods.md."""
    measured.check()
    lines = [INTRODUCTION, "", *_setting(measured), "", "## Success", "", SUCCESS]
    for latent in measured.latents:
        lines += ["", f"### Latent {latent}", "", *_rates(measured.of(latent)), "", *_differences(measured.of(latent))]
    lines += ["", "## Claims of the papers", "", CLAIMED, "", *_claims(measured)]
    lines += ["", "## The latent spaces", "", SPACES, "", *_spaces(measured)]
    lines += ["", "## How lambda was chosen", "", CHOICE, "", *_choices(measured)]
    lines += ["", "## What the presets take", "", PRESET, "", *_preset(measured)]
    lines += ["", OTHER_PRESETS, "", *preset_methods.lines(measured.home)]
    lines += ["", "## Each training seed", "", *_seeds(measured), "", "## What was typed", "", *_commands(measured)]
    return "\n".join(lines) + "\n"


def _setting(measured: Measured) -> Iterator[str]:
    first = next(iter(measured.groups.values()))
    planner = first.of_objective["last"][0][0].protocol.planner
    counts = ", ".join(f"{len(first.pairs(offset))} with goals {offset} steps ahead" for offset in OFFSETS)
    seeds, episodes = ", ".join(map(str, SEEDS)), RECORDINGS["demos"][0]
    yield f"- **trained**: the `small` preset, training seeds {seeds}, {episodes} episodes"
    yield f"- **pairs**: {counts} (twice as many steps allowed), one per episode of a recording made apart"
    missing = dict.fromkeys((one.latent, title(one)) for one in variants(measured.chosen))
    left = [f"{name} at latent {latent}" for latent, name in missing if (latent, name) not in measured.groups]
    if left:
        yield f"- **not measured yet**: {', '.join(left)}"
    yield f"- **planner**: {planner.solver}, {planner.candidates} candidates, {planner.iterations} iterations"


def _columns() -> list[tuple[str, int]]:
    return [(objective, offset) for offset in OFFSETS for objective in OBJECTIVES]


def _rates(groups: Sequence[Group]) -> Iterator[str]:
    yield from headings("method", *(f"{offset} steps, `{objective}`" for objective, offset in _columns()))
    for group in groups:
        yield line(group.title, *(group.rate(*column) for column in _columns()))
    random = {offset: [one.random_success for one in groups[0].pairs(offset)] for offset in OFFSETS}
    floors = (Rate.of(np.array(random[offset]), _episodes(groups[0].pairs(offset))) for _, offset in _columns())
    yield line("random actions", *floors)


def _differences(groups: Sequence[Group]) -> Iterator[str]:
    lewm, *others = groups
    yield from headings("minus `lewm`, points", *(f"{offset} steps, `{objective}`" for objective, offset in _columns()))
    for group in others:
        yield line(group.title, *(_marked(group.over(lewm, *column)) for column in _columns()))


def _marked(difference: Difference) -> str:
    return f"**{difference}**" if difference.low > 0 or difference.high < 0 else str(difference)


@dataclass(frozen=True)
class Claim:
    """What a paper says of TwoRoom.

    Args:
        text: in our words.
        title: of the group that it is about.
        offset: of the goals.
    """

    text: str
    title: str
    offset: int = 25


CLAIMS = (
    Claim("Delta-JEPA: the action decoded from the latent difference beats SIGReg (100.0 against 74.9 %)", "`delta`"),
    Claim("SMWM: the action decoded from both latents beats SIGReg (100.0 against 92.6 %)", "`inverse`"),
    Claim("SMWM, goals 100 steps ahead: 79 against 38 %", "`inverse`", 100),
    Claim("LeWorldModel's release: PLDM reaches more on TwoRoom (97 %)", "`pldm`"),
    Claim("CGS: the cosine term beats LeWorldModel without it (95.3 against 76.7 %)", "`lewm` + cosine"),
    Claim("CGS's own comparison: straightening alone (97.3 against 76.7 %)", "`lewm` + straightness"),
)


def _claims(measured: Measured) -> Iterator[str]:
    sizes = measured.latents
    yield from headings("claim", *(f"latent {latent}" for latent in sizes))
    for claim in CLAIMS:
        yield line(claim.text, *(_verdict(measured, claim, latent) for latent in sizes))
    control = (_collapse(measured, latent) for latent in sizes)
    yield line(
        "All: prediction alone collapses, and plans hardly better than at random (34.6 %, random 30.0 %)", *control
    )


def _verdict(measured: Measured, claim: Claim, latent: int) -> str:
    group = measured.groups.get((latent, claim.title))
    if group is None:
        return "not measured"
    difference = group.over(measured.groups[latent, LEWM], "last", claim.offset)
    held = "held" if difference.low > 0 else "**did not hold**" if difference.high < 0 else "not shown"
    return f"{held}: {difference}"


def _collapse(measured: Measured, latent: int) -> str:
    group = measured.groups.get((latent, "`prediction`"))
    if group is None:
        return "not measured"
    held = "held" if all(one.collapsed for one in group.held_out) else "**did not hold**"
    return f"{held}: deviation {_range([one.std for one in group.held_out], 3)}, {group.rate('last', 25)}"


def _spaces(measured: Measured) -> Iterator[str]:
    yield from headings(
        "latent", "method", "deviation", "narrowest", "effective rank", "prediction / copying", "R2, linear", "R2, MLP",
        "CPU, of `lewm`'s",
    )  # fmt: skip
    for latent in measured.latents:
        base = _seconds(measured.groups[latent, LEWM])
        for group in measured.of(latent):
            spaces = group.held_out
            numbers = (
                _range([one.std for one in spaces], 3),
                _range([one.std_min for one in spaces], 3),
                _range([one.effective_rank for one in spaces], 1),
                _range([one.prediction / one.copying for one in spaces], 3),
                *(_range([_worst_r2(probe, kind) for probe in group.probes], 3) for kind in ("linear", "mlp")),
            )
            yield line(latent, group.title, *numbers, f"{_seconds(group) / base:.2f}")


def _worst_r2(probe: ProbeResult, kind: str) -> float:
    """Of the quantity that is read worst."""
    return min(getattr(target, kind)["model"].r2 for target in probe.still)


def _seconds(group: Group) -> float:
    """Processor time of a training, the median of its seeds."""
    return median(one.cpu_seconds for one in group.trainings)


def _range(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    low, high = (f"{bound:.{digits}f}" for bound in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _choices(measured: Measured) -> Iterator[str]:
    columns = [(latent, offset) for latent in CHOSEN_AT for offset in OFFSETS]
    yield from headings(
        "method", "lambda", *(f"latent {latent}, {offset} steps" for latent, offset in columns), "chosen at"
    )
    going_on = promising(measured.home)
    for method, weights in CANDIDATES.items():
        for weight in weights:
            rates: list[object] = []
            for latent in CHOSEN_AT:
                one = Variant(method, latent, 0, weight)
                if latent != CHOSEN_AT[0] and weight not in going_on[method]:
                    rates += ["-"] * len(OFFSETS)
                elif tried(measured.home, one) < 0:
                    rates += ["collapsed"] * len(OFFSETS)
                else:
                    done = do(measured.home, FOLDER, one.tried[1])
                    rates += [result.overall.success for result in results(done)]
            sizes = [latent for latent in LATENTS if measured.chosen[method, latent] == weight]
            yield line(f"`{method}`", f"{weight:g}", *rates, ", ".join(map(str, sizes)))


def _preset(measured: Measured) -> Iterator[str]:
    steps = deciding(measured.chosen)
    if not all(done_path(measured.home, FOLDER, step).exists() for of_method in steps.values() for step in of_method):
        yield "Not measured yet."
        return
    yield from headings(
        "method", *(f"{offset} steps" for offset in OFFSETS), *(f"minus `lewm`, {one}" for one in OFFSETS)
    )
    every = {
        method: [results(do(measured.home, FOLDER, step)) for step in of_method] for method, of_method in steps.items()
    }
    for method, of_seed in every.items():
        rates, differences = [], []
        for number in range(len(OFFSETS)):
            episodes = _episodes(of_seed[0][number].episodes)
            mine, lewms = (
                np.array([[pair.success for pair in one[number].episodes] for one in each])
                for each in (of_seed, every["lewm"])
            )
            rates.append(Rate.of(mine, episodes))
            differences.append("" if method == "lewm" else _marked(Difference.of(mine, lewms, episodes)))
        yield line(f"`{method}`", *rates, *differences)


def _seeds(measured: Measured) -> Iterator[str]:
    yield from headings("run", *(f"{offset} steps, `{objective}`" for objective, offset in _columns()), "deviation")
    for group in measured.groups.values():
        for number, variant in enumerate(group.variants):
            rates = (
                group.of_objective[objective][number][OFFSETS.index(offset)].overall.success
                for objective, offset in _columns()
            )
            yield line(variant.run, *rates, f"{group.held_out[number].std:.3f}")


def _commands(measured: Measured) -> Iterator[str]:
    yield "    " + "\n    ".join(do(measured.home, FOLDER, step).command for step in recordings())
    yield ""
    yield "For one run, and so for the others:"
    yield ""
    first = next(iter(measured.groups.values())).variants[0]
    yield "    " + "\n    ".join(do(measured.home, FOLDER, step).command for step in first.measured)


INTRODUCTION = """\
# Methods, compared

Every number here was measured by `python bench/methods.py HOME`, which also wrote this page: the training methods
of `lewm methods` on TwoRoom, with the same network, data, steps, planner and pairs. What keeps a latent space open
is explained in [Concepts](concepts.md#what-keeps-a-latent-space-open).

These are models for a laptop, 0.2 to 0.6 million parameters after 1500 steps on 300 episodes: what holds for them
may not hold for the released size, and what a paper measured after ten epochs of ten thousand episodes may not show
here. Intervals are 95 %, over training seeds and episodes together; a difference is pair by pair and seed by seed,
in points, and printed **bold** where its interval does not hold 0. No interval is corrected for how many there are."""

SUCCESS = """\
`last` is the paper's planning cost, the latent distance of the last imagined latent to the goal; `reach` judges
plans by a [reachability head](objectives.md) that is fitted to the frozen latents of each run."""

CLAIMED = """\
Each claim is the proposers' own, at the released size and against their own LeWorldModel. Here: the difference to
`lewm` in points, with `last`. *Not shown* means that the interval holds 0: neither held nor refuted."""

SPACES = """\
Of held-out clips when training ended, least to most of the training seeds: standard deviation per dimension and
that of the narrowest one, effective rank, and the error of the predicted latent as a share of what repeating the
last latent scores. R2 is that of the worse of the disk's two coordinates, read by `lewm probe` from episodes of the
test recording. CPU is the processor time of a training, the median of its seeds, relative to that of `lewm`; other
work ran beside the trainings."""

PRESET = """\
TwoRoom, the methods at latent 8, three training seeds each, on the validation recording, `last`. The `small` preset
takes another method than `lewm` only if it is shown to be better at one distance and is not shown to be worse at the
other, and of several the one with the most successes: `delta`. Presets of the released size train what the paper
trained."""

OTHER_PRESETS = """\
The other tasks, goals 25 steps ahead, `last`, with the lambda that was chosen on TwoRoom at latent 8 and recordings as
in [Results](results.md), but for a validation recording (seed 500): every method with one training seed, the best one
and `lewm` with three. Another method than `lewm` is taken if it is shown to be better (`python bench/preset_methods.py
HOME`)."""

CHOICE = """\
On a recording of its own (seed {seed}), {pairs} pairs of each offset, `last`, one training seed: every lambda at
latent 8, the two best of each method also at latent 64. For each size the one with the most successes over both
offsets was taken, and for 192 that of 64. The test recording was not looked at. Weights of the additions are those of
their papers (straightness: that of stable_worldmodel; `rollout`: 1, of no paper).""".format(
    seed=RECORDINGS["validation"][1], pairs=CHOOSING_PAIRS
)


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("--jobs", type=int, default=2, help="commands at a time")
    parser.add_argument("--out", type=Path, default=Path("docs/methods.md"))
    parser.add_argument("--page-only", action="store_true", help="write what is finished, and measure nothing")
    options = parser.parse_args()
    home = options.home.absolute()
    if options.page_only:
        write_page(home, options.out)
        return
    work(home, recordings())
    at_first = [Variant(method, CHOSEN_AT[0], 0, one) for method, weights in CANDIDATES.items() for one in weights]
    in_parallel(home, options.jobs, [one.tried for one in at_first])
    then = [Variant(method, CHOSEN_AT[1], 0, one) for method, weights in promising(home).items() for one in weights]
    in_parallel(home, options.jobs, [one.tried for one in then])
    every = variants(choose(home))
    in_parallel(home, options.jobs, [one.measured for one in every])
    in_parallel(home, options.jobs, list(deciding(choose(home)).values()))
    in_parallel(home, options.jobs, [(one.probing,) for one in every])
    write_page(home, options.out)


def write_page(home: Path, out: Path) -> None:
    """Write what is finished, and beside it the picture of the latents."""
    measured = Measured(home, choose(home))
    out.write_text(page(measured), encoding="utf-8")
    groups = [group for group in measured.of(PICTURED) if group.probes and group.plain]
    if groups:
        draw(groups).savefig(out.with_name("methods-latents.png"), dpi=110, metadata={"Software": None})


def draw(groups: Sequence[Group]) -> Figure:
    """The first two principal components of the latents of test frames, colored by where the disk is."""
    figure = Figure(figsize=(2.3 * len(groups), 2.9), layout="constrained")
    for axes, group in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True):
        probe = group.probes[0]
        places = np.array([point.map for point in probe.points])
        x = np.array([point.actual[0] for point in probe.points])
        dots = axes.scatter(*places.T, c=x, s=3, cmap="viridis", linewidths=0)
        shares = " and ".join(f"{share:.0%}" for share in probe.map_explained)
        axes.set_title(f"{group.title.strip('`')}\n{shares} of variance", fontsize=9)
        axes.set_aspect("equal", adjustable="datalim")
        axes.tick_params(labelsize=7)
    figure.colorbar(dots, ax=figure.axes, shrink=0.8).set_label(f"{probe.targets[0].name}, px", fontsize=8)
    return figure


if __name__ == "__main__":
    main()
