"""Makes docs/science.md: the paper's claims about the latent space, each measured, and what came out.

    python bench/science.py --home .results [--jobs 2] [--out docs/science.md]

TwoRoom with three training seeds of LeWorldModel by the `small` preset, and PushT with the run of docs/results.md; the
runs and recordings are those of `bench/results.py`, made here where they are not there yet. Controls: the same training
with lambda 0, another method (PLDM), and recordings whose colors vary. What is done already is not done again.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from PIL import Image

from lewm_cli.decode import SHOWN, DecodeResult
from lewm_cli.flows.results import stored_results
from lewm_cli.latent import LatentResult
from lewm_cli.probe import PUBLISHED, ProbeResult
from lewm_cli.statistics import Estimate, Rate, percentile_interval
from lewm_cli.store import Home, load_run
from lewm_cli.surprise import DETECTORS, Alarm, Detector, DoseResult, PerturbationResult
from lewm_cli.surprise.dose_result import DetectorDoses
from lewm_cli.surprise.perturbation_result import LEAST, PerturbedEpisode
from results import ROWS, Done, Row, Step, do, done_path, headings, line, recording, training

TWOROOM, PUSHT = ROWS[0], ROWS[1]
EPISODES = "64"
"""Simulated with and without every change."""

LEVEL = 0.01
"""Of the paper's tests, here of p-values corrected for all tests of a run."""

LEAST_SHOWN = 1e-6
"""Smaller ratios are those of things that stand still."""

RESAMPLES = 10_000


@dataclass(frozen=True)
class Kind:
    """One way to train, with every seed of a task.

    Args:
        title: in tables.
        name: of its runs, before the seed.
        method: trained.
        options: of the training, beyond its preset.
        recorded: to train on.
    """

    title: str
    name: str
    method: str = "lewm"
    options: tuple[str, ...] = ()
    recorded: str = "demos"


LEWM = Kind("LeWorldModel", "small")
PLDM = Kind("PLDM", "pldm", method="pldm")
VARIED = Kind("LeWorldModel, colors vary", "varied", recorded="varied")
CONTROLS = (Kind("lambda 0", "lambda0", options=("--lambda", "0")), PLDM, VARIED)


@dataclass(frozen=True)
class Trained:
    """One run, and what is measured of it."""

    row: Row
    kind: Kind
    seed: int

    @property
    def run(self) -> str:
        """Its name."""
        return f"{self.row.task}/{self.kind.name}-seed{self.seed}"

    @property
    def training(self) -> Step:
        """With its options; where the recording is another one, that comes last and wins."""
        step = training(self.row.task, self.run, self.seed, *self.kind.options, method=self.kind.method)
        if self.kind.recorded == "demos":
            return step
        words = [f"{self.row.task}/{self.kind.recorded}" if w == f"{self.row.task}/demos" else w for w in step.command]
        return Step(step.name, step.kind, tuple(words))

    def _measuring(self, what: str, *command: str) -> Step:
        return Step(f"{Path(self.run).name}-{what}", "evaluating", command)

    @property
    def perturbations(self) -> Step:
        """Every violation of expectation that the task can stage."""
        test = f"{self.row.task}/test"
        return self._measuring(
            "perturb", "surprise", test, "--run", self.run, "--perturb", "all", "--episodes", EPISODES
        )

    @property
    def whole(self) -> tuple[Step, ...]:
        """Everything else."""
        test = ("--dataset", f"{self.row.task}/test")
        found = [
            self._measuring("latent", "latent", self.run, *test),
            self._measuring("probe", "probe", self.run, *test),
            self._measuring("decode", "decode", self.run, *test),
            self._measuring("doses", "surprise", test[1], "--run", self.run, "--perturb", "teleport", "--doses"),
        ]
        if self.row is TWOROOM:
            quiet = ("--false-alarms", "1%", "--calibrate", f"{self.row.task}/calibration")
            found.append(self._measuring("alarm", "surprise", test[1], "--run", self.run, *quiet))
        return tuple(found)

    @property
    def steps(self) -> Iterator[Step]:
        """All of it, in order."""
        yield self.training
        yield self.perturbations
        if self.kind is LEWM:
            yield from self.whole
        else:
            yield self._measuring("latent", "latent", self.run, "--dataset", f"{self.row.task}/test")


RUNS = tuple(Trained(TWOROOM, LEWM, seed) for seed in TWOROOM.seeds)
BESIDE = tuple(Trained(TWOROOM, kind, seed) for kind in CONTROLS for seed in TWOROOM.seeds)
OTHER = tuple(Trained(PUSHT, LEWM, seed) for seed in PUSHT.seeds)


def recordings() -> Iterator[tuple[str, Step]]:
    """What is recorded, by task; that of `bench/results.py` is taken from there."""
    for row in (TWOROOM, PUSHT):
        yield row.task, recording(row.task, "demos", row.train, seed=0)
        yield row.task, recording(row.task, "test", row.test, seed=1000)
    yield TWOROOM.task, recording(TWOROOM.task, "calibration", 400, seed=500)
    varied = recording(TWOROOM.task, "varied", TWOROOM.train, seed=0)
    yield TWOROOM.task, Step(varied.name, varied.kind, (*varied.command, "--vary", "color"))


def measure(home: Path, jobs: int) -> None:
    """Do whatever is not done yet."""
    for task, step in recordings():
        do(home, task, step)
    with Pool(jobs) as pool:
        pool.map(partial(_measure, home), (*RUNS, *OTHER, *BESIDE), chunksize=1)


def _measure(home: Path, one: Trained) -> None:
    for step in one.steps:
        do(home, one.row.task, step)


@dataclass(frozen=True)
class Found:
    """What was measured, read from the home."""

    home: Path

    def _done(self, one: Trained, ending: str) -> Done:
        step = next(step for step in one.steps if step.name.endswith(ending))
        return do(self.home, one.row.task, step)

    def finished(self, runs: Sequence[Trained]) -> list[Trained]:
        """Those of which everything is measured."""
        return [one for one in runs if all(done_path(self.home, one.row.task, step).exists() for step in one.steps)]

    def perturbations(self, one: Trained) -> dict[str, PerturbationResult]:
        """By name."""
        every = [PerturbationResult.model_validate(each) for each in json.loads(self._done(one, "-perturb").printed)]
        return {each.perturbation: each for each in every}

    def doses(self, one: Trained) -> DoseResult:
        """Of the teleport."""
        return DoseResult.model_validate_json(self._done(one, "-doses").printed)

    def latent(self, one: Trained) -> LatentResult:
        """Beside an untrained encoder."""
        return LatentResult.model_validate_json(self._done(one, "-latent").printed)

    def probe(self, one: Trained) -> ProbeResult:
        """With imagination."""
        return ProbeResult.model_validate_json(self._done(one, "-probe").printed)

    def decode(self, one: Trained) -> DecodeResult:
        """Of imagined frames."""
        return DecodeResult.model_validate_json(self._done(one, "-decode").printed)

    def alarm(self, one: Trained) -> Alarm:
        """The newest; the command prints what it found with it."""
        home = Home.locate(self.home)
        newest = stored_results(home, load_run(home, one.run)).newest(Alarm)
        assert newest is not None
        return newest

    def command(self, one: Trained, ending: str) -> str:
        """As it was typed."""
        return f"    {self._done(one, ending).command}"


@dataclass(frozen=True)
class Pooled:
    """A mean over training seeds and episodes, and its 95 % interval over both together."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Pooled":
        """Pools values (S, N) of S seeds on the same N episodes; of one seed the interval is over episodes alone."""
        generator, (seeds, episodes) = np.random.default_rng(0), values.shape
        drawn = [
            values[generator.integers(seeds, size=seeds)][:, generator.integers(episodes, size=episodes)].mean()
            for _ in range(RESAMPLES)
        ]
        return cls(float(values.mean()), *percentile_interval(np.array(drawn)))

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"

    @property
    def ratio(self) -> str:
        """Of a mean logarithm: the ratio."""
        mean, low, high = (
            "0" if value < LEAST_SHOWN else f"{value:.3g}" for value in np.exp([self.mean, self.low, self.high])
        )
        return f"{mean} [{low}, {high}]"


def wall_ratios(results: Sequence[dict[str, PerturbationResult]], detector: Detector) -> np.ndarray:
    """Natural logarithms (S, N): walking through TwoRoom's wall over the free walk of the step before, in S runs.

    Both are the same motion. Beside the version that the wall holds, whatever looks at motion would see the difference.
    """
    walls = [each["wall"] for each in results]
    return np.array([[_over_free_walk(one, episode, detector) for episode in one.episodes] for one in walls])


def _over_free_walk(result: PerturbationResult, episode: PerturbedEpisode, detector: Detector) -> float:
    curve = episode.perturbed[detector]
    through, before = curve[episode.event : episode.event + result.lasts], curve[episode.event - 1]
    return float(np.log(max(float(np.mean(through)), LEAST) / max(float(before or 0), LEAST)))


def log_ratios(results: Sequence[PerturbationResult], detector: Detector) -> np.ndarray:
    """Natural logarithms (S, N) of a detector's values at the event, perturbed over untouched, of S runs."""
    return np.array([[_log_ratio(one, episode, detector) for episode in one.episodes] for one in results])


def _log_ratio(result: PerturbationResult, episode: PerturbedEpisode, detector: Detector) -> float:
    during = slice(episode.event, episode.event + result.lasts)
    untouched, perturbed = (
        max(float(np.mean(curves[detector][during])), LEAST) for curves in (episode.untouched, episode.perturbed)
    )
    return float(np.log(perturbed / untouched))


def page(found: Found) -> str:
    """The whole page."""
    runs, other, beside = (found.finished(each) for each in (RUNS, OTHER, BESIDE))
    every = [*runs, *other]

    def section(title: str, text: str, ending: str, *tables: Iterator[str]) -> str:
        parts = [f"## {title}", text, *([found.command(runs[0], ending)] if ending else [])]
        return "\n\n".join([*parts, *("\n".join(table) for table in tables)])

    sections = [
        INTRODUCTION,
        section(
            "The claims", CLAIMS, "", _claims(found, runs, beside), *([_claims(found, other, [])] if other else [])
        ),
        section("Violations of expectation", VIOLATIONS, "-perturb", _violations(found, runs)),
        *(["PushT, one training seed:", "\n".join(_violations(found, other))] if other else []),
        section("The smallest teleport", DOSES, "-doses", _doses(found, runs)),
        section("Why a color surprises", COLORS, "", _colors(found, runs)),
        section("False alarms", ALARMS, "-alarm", _alarms(found, runs)),
        section("What the latent knows", PROBES, "-probe", _probes(found, every)),
        section("What imagination knows", IMAGINATION, "", _imagination(found, every), _open_loop(found, every)),
        section("The latent space", LATENT, "-latent", _latent(found, [*runs, *beside, *other])),
        section("Imagined frames", FRAMES, "-decode", _frames(found, every)),
    ]
    return "\n\n".join(sections)


def _claims(found: Found, runs: Sequence[Trained], beside: Sequence[Trained]) -> Iterator[str]:
    """A statement on each claim: held, not held, or not shown."""
    results = [found.perturbations(one) for one in runs]
    latents = [found.latent(one) for one in runs]
    yield from headings("the paper says", f"here, {runs[0].row.task}, training seeds: {len(runs)}", "because")

    def significant(name: str) -> int:
        scores = [each[name].scores["model"] for each in results]
        return sum(score.corrected is not None and score.corrected < LEVEL and score.ratio > 1 for score in scores)

    def over(one: str, other: str) -> Pooled:
        mine, theirs = (log_ratios([each[name] for each in results], "model") for name in (one, other))
        return Pooled.of(mine - theirs)

    count = significant("teleport")
    verdict = "held" if count == len(runs) else "not held" if not count else "not shown"
    yield line("a teleport surprises, p < 0.01", verdict, f"corrected p < 0.01 with {count} of {len(runs)} seeds")
    weaker = over("teleport", "color")
    yield line(
        "a change of color surprises less, or not significantly",
        _verdict(weaker),
        f"teleport over color: {weaker.ratio} times; color has corrected p < 0.01 with {significant('color')} of "
        f"{len(runs)} seeds",
    )
    matched = over("teleport", "matched")
    yield line(
        "so it is physics that surprises, not pixels (a teleport surprises more than a color as large in pixels)",
        _verdict(matched),
        f"teleport over matched color: {matched.ratio} times",
    )
    if "wall" in results[0]:
        wall = {one: Pooled.of(wall_ratios(results, one)) for one in DETECTORS}
        beyond = Pooled.of(wall_ratios(results, "model") - wall_ratios(results, "latent"))
        yield line(
            "physics is known: walking through a wall at legal speed surprises",
            _verdict(beyond),
            f"{wall['model'].ratio} times as much as the free walk before it, the step between latents "
            f"{wall['latent'].ratio} times",
        )
    straight = [one.scores["model"].straightness for one in latents]
    claims = {
        "training straightens latent paths without being asked to": (
            "an untrained encoder's",
            [one.scores["untrained"].straightness for one in latents],
        ),
        "LeWorldModel's paths are straighter than PLDM's": (
            "PLDM's",
            [found.latent(one).scores["model"].straightness for one in beside if one.kind is PLDM],
        ),
    }
    for claim, (whose, others) in claims.items():
        if len(others) < len(straight):  # some seeds are not measured yet
            continue
        pairs = [(one, other) for one, other in zip(straight, others, strict=True) if one and other]
        above, below = (all(high.low > low.high for high, low in each) for each in (pairs, [p[::-1] for p in pairs]))
        verdict = "held" if above else "not held" if below else "not shown"
        gains = ", ".join(f"{one.value - other.value:+.2f}" for one, other in pairs)
        yield line(claim, verdict, f"mean cosine of successive steps minus {whose}: {gains} by seed")


def _verdict(difference: Pooled) -> str:
    return "held" if difference.low > 0 else "not held" if difference.high < 0 else "not shown"


def _violations(found: Found, runs: Sequence[Trained]) -> Iterator[str]:
    results = [found.perturbations(one) for one in runs]
    yield from headings("violation", *(TITLES[one] for one in DETECTORS), f"seeds with p < {LEVEL}", "AUROC")
    for name in results[0]:
        each = [one[name] for one in results]
        ratios = [Pooled.of(log_ratios(each, detector)).ratio for detector in DETECTORS]
        scores = [one.scores["model"] for one in each]
        shown = sum(one.corrected is not None and one.corrected < LEVEL and one.ratio > 1 for one in scores)
        auroc = np.mean([one.auroc for one in scores])
        yield line(name, *ratios, f"{shown} of {len(scores)}", f"{auroc:.2f}")
    if "wall" in results[0]:
        ratios = [Pooled.of(wall_ratios(results, detector)).ratio for detector in DETECTORS]
        yield line("wall, over the free walk before it", *ratios, "", "")


def _doses(found: Found, runs: Sequence[Trained]) -> Iterator[str]:
    yield from headings("seed", *(TITLES[one] for one in DETECTORS))
    for one in runs:
        result = found.doses(one)
        cells = [_size(result.detectors[detector], result) for detector in DETECTORS]
        yield line(one.seed, *cells)


def _size(doses: DetectorDoses, result: DoseResult) -> str:
    if doses.half is None:
        return f"none up to {result.sizes[-1]:.0f} {result.size_unit}"
    high = "larger" if doses.half_high is None else f"{doses.half_high:.1f}"
    return f"{doses.half:.1f} [{doses.half_low:.1f}, {high}] {result.size_unit}"


def _colors(found: Found, runs: Sequence[Trained]) -> Iterator[str]:
    yield from headings("trained as", "color", "matched color", "teleport", "teleport over color")
    beside = found.finished(BESIDE)
    for kind in (LEWM, *CONTROLS):
        results = [found.perturbations(one) for one in (*runs, *beside) if one.kind is kind]
        if results:
            ratios = {
                name: log_ratios([one[name] for one in results], "model") for name in ("color", "matched", "teleport")
            }
            over = Pooled.of(ratios["teleport"] - ratios["color"])
            yield line(kind.title, *(Pooled.of(each).ratio for each in ratios.values()), over.ratio)
    if varied := [one for one in beside if one.kind is VARIED]:
        results = [found.perturbations(one) for one in varied]
        teleport, color = (log_ratios([one[name] for one in results], "model") for name in ("teleport", "color"))
        yield ""
        yield COLORS_VARY[_verdict(Pooled.of(teleport - color))]


def _alarms(found: Found, runs: Sequence[Trained]) -> Iterator[str]:
    yield from headings("seed", "threshold", "calibrated on", "false alarms on others", "episodes with one")
    for one in runs:
        alarm = found.alarm(one)
        yield line(
            one.seed, f"{alarm.threshold:.3g}", len(alarm.calibrated), _percent(alarm.measured), alarm.with_event
        )


def _percent(rate: Rate) -> str:
    return f"{100 * rate.rate:.2f}% [{100 * rate.low:.2f}, {100 * rate.high:.2f}]"


def _probes(found: Found, runs: Sequence[Trained]) -> Iterator[str]:
    ours = ("linear MSE, r", "MLP MSE, r", "untrained, MLP r")
    yield from headings("task", "quantity", *ours, "paper, linear", "paper, MLP")
    for task in dict.fromkeys(one.row.task for one in runs):
        results = [found.probe(one) for one in runs if one.row.task == task]
        for row in PUBLISHED.get(task, ()):
            targets = [[t for t in one.targets if t.name in row.targets] for one in results]
            if not all(targets):
                continue
            paper = row.scores["LeWM"]
            cells = [
                f"{np.mean([[getattr(t, kind)['model'].mse for t in each] for each in targets]):.3f}, "
                f"{np.mean([[getattr(t, kind)['model'].r for t in each] for each in targets]):.3f}"
                for kind in ("linear", "mlp")
            ]
            plain = f"{np.mean([[t.mlp['untrained'].r for t in each] for each in targets]):.3f}"
            yield line(
                task,
                row.quantity,
                *cells,
                plain,
                f"{paper.linear_mse:.3f}, {paper.linear_r:.3f}",
                f"{paper.mlp_mse:.3f}, {paper.mlp_r:.3f}",
            )


def _imagination(found: Found, runs: Sequence[Trained]) -> Iterator[str]:
    yield from headings("run", "quantity", "steps", "imagined", "copying", "re-encoded", "break-even step")
    for one in runs:
        result = found.probe(one).imagination
        if result is None:
            continue
        for target in result.targets:
            errors = {source: each[-1].rmse for source, each in target.mlp.errors.items()}
            cells = [f"{errors[source]:.3g} {target.unit}" for source in ("imagined", "copying", "encoded")]
            yield line(one.run, target.name, result.horizon, *cells, target.mlp.break_even)


def _open_loop(found: Found, runs: Sequence[Trained]) -> Iterator[str]:
    yield from headings("run", "environment steps", "episodes", "imagined", "copying", "imagined over copying")
    for one in runs:
        result = found.probe(one).open_loop
        for each in result.horizons if result else ():
            steps = each.steps * result.frameskip
            yield line(one.run, steps, result.episodes, f"{each.imagined:.3g}", f"{each.copying:.3g}", _two(each.ratio))


def _two(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate:.2f}"


def _latent(found: Found, runs: Sequence[Trained]) -> Iterator[str]:
    yield from headings(
        "run",
        "straightness",
        "untrained",
        "effective rank",
        "Epps-Pulley",
        "of Gaussian samples",
        "rank correlation",
        "untrained",
        "nearest elsewhere",
    )
    for one in runs:
        result = found.latent(one)
        mine, plain = result.scores["model"], result.scores["untrained"]
        statistic = mine.gaussianity.statistic if mine.gaussianity else None
        reference, known = result.gaussian, mine.distances and result.true_distance
        yield line(
            one.run,
            _two(mine.straightness),
            _two(plain.straightness),
            f"{mine.spectrum.effective_rank:.1f} of {result.latent}",
            "" if statistic is None else f"{statistic:.2f}",
            f"{reference.statistic:.2f}, at most {reference.statistic_high:.2f}" if reference else "",
            _two(mine.distances and mine.distances.correlation),
            _two(plain.distances and plain.distances.correlation),
            f"{mine.distances.nearest:.1f} {known.unit}" if mine.distances and known else "",
        )


def _frames(found: Found, runs: Sequence[Trained]) -> Iterator[str]:
    yield from headings("run", "steps ahead", "imagined", "re-encoded", "copied", "mean frame")
    for one in runs:
        result = found.decode(one)
        for step in sorted({1, min(5, result.horizon), result.horizon}):
            changed = (result.steps[shown][step - 1].changed for shown in SHOWN)
            cells = ["" if each is None else f"{each:.1f}" for each in changed]
            yield line(one.run, step, *cells)


TITLES: dict[Detector, str] = {
    "model": "model",
    "untrained": "untrained",
    "latent": "latent step",
    "pixels": "pixel step",
}

INTRODUCTION = """\
# The paper's second claim

LeWorldModel's paper says that its latents know physics: quantities can be read from them, the impossible surprises,
paths are straight, and what is imagined can be looked at. The code behind that was never released. Here each claim is
measured with the commands of this tool, by `python bench/science.py --home .results`, which also wrote this page.

These are models of the `small` preset, 64 pixels, minutes of training, and not the paper's: what does not hold of
them may hold of larger ones, and the same commands ask that. TwoRoom has three training seeds, PushT one, which shows
less. Test recordings share no episode with those trained on. Intervals are 95 %, over training seeds and episodes
together where there are several seeds, over episodes where there is one. Nothing was chosen by looking at these
numbers."""

CLAIMS = """\
*Held* and *not held* are said where an interval lies on one side, or the intervals of two runs lie apart with every
seed; everything else is not shown. With one training seed it is said of that run alone."""

VIOLATIONS = f"""\
Test episodes are simulated twice with the same actions, untouched and changed in the middle ([what each change
is](commands/surprise.md)). Cells are the value at the event, changed over untouched: the geometric mean over episodes
and seeds. A detector other than the model shows how much can be seen without predicting. The seeds counted are those
with p < {LEVEL} by the paper's paired t-test, corrected for all tests of the run by Holm's method.

Untouched, the agent of *wall* is held by the wall and stands, so whatever looks at motion sees the difference. The last
row compares the walk through the wall with the free walk before it, which is the same motion; but an agent that stands
in the wall is also a frame that no recording has, and which of the two surprises is not told apart here."""

DOSES = """\
Teleports of seven sizes, and for each detector the size that is found half of the time, at a threshold that gives 1 %
false alarms on other, untouched episodes:"""

COLORS = """\
In the paper a change of color surprises less than a teleport, or not significantly. Where it is as significant here,
one may suspect that a model which never saw another color takes the new one for another place. So the same is measured
of models trained with another loss, and of one trained on recordings in which the colors vary from episode to episode
(`lewm collect tworoom --vary color`). Ratios are the model's surprise at the event, changed over untouched."""

COLORS_VARY = {
    "held": "Where colors vary from episode to episode, a teleport surprises more than a change of color.",
    "not shown": "Where colors vary from episode to episode, neither is shown to surprise more than the other.",
    "not held": "A model that saw all colors is surprised by a change of color even more than by a teleport: what no "
    "recording has is a color that changes *within* an episode. So it is not the strange color that surprises.",
}

ALARMS = """\
A threshold for 1 % false alarms (share of model steps), calibrated on recordings made apart, and tried on other
episodes of them:"""

PROBES = """\
Scores of probes in the paper's layout, beside the paper's own, whose recipe is not published; ours are means over
training seeds, and of the parts of a quantity."""

IMAGINATION = """\
The model rolls forward on its own predictions with the true actions, and the probes above (MLP) read what it
imagines. Errors are root mean squares at the last step; *copying* reads the last frame of the context, *re-encoded*
the frame that was recorded then. The break-even step is the first at which imagining is no better than copying.
Below, errors of the latents themselves, by the standard that newer papers use (history 3, 15 and 25 environment
steps, 100 episodes)."""

LATENT = """\
Straightness is the mean cosine of successive latent steps: 1 on a line, 0 of a random walk. Epps-Pulley is the
statistic that SIGReg pulls down, over random directions, beside that of Gaussian samples as large. Rank correlation
is that of latent with true distance; *nearest elsewhere* is how far off the frame of another episode truly is whose
latent is the nearest."""

FRAMES = """\
PSNR in dB on the pixels that change from the last frame of the context: of the imagined latent decoded, of the true
frame's latent decoded, which is the decoder's limit, of the last frame copied, and of the mean frame.

![Frames recorded, imagined, re-encoded and copied](science-imagined.webp)

One stretch of the first run, a model step from column to column, from above: recorded, imagined, re-encoded, copied.
The first column is the last frame that was seen."""


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="commands at a time")
    parser.add_argument("--out", type=Path, default=Path("docs/science.md"))
    parser.add_argument("--page-only", action="store_true", help="write what is finished, and measure nothing")
    options = parser.parse_args()
    home = options.home.absolute()
    if not options.page_only:
        measure(home, options.jobs)
    found = Found(home)
    options.out.write_text(page(found) + "\n", encoding="utf-8")
    film = found.decode(RUNS[0]).filmstrips[0]
    Image.fromarray(film.picture()).save(options.out.with_name("science-imagined.webp"), quality=90)


if __name__ == "__main__":
    main()
