"""Reports of runs made by hand, for pages: one of everything, and one of nothing."""

import base64
import io
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from lewm_cli.config import ActionStats, DatasetIdentity, EvalProtocol, Inputs, ModelConfig
from lewm_cli.control import TimeSplit
from lewm_cli.data import Likeness
from lewm_cli.decode import DecodeResult, Filmstrip, StepScore
from lewm_cli.diagnose.film_result import Candidates, FilmedPlan, FilmResult, Frames, PlanFilm
from lewm_cli.evaluate import EpisodeResult, EvalResult, ImproveResult, PairSet, PlannerChoice, Trials, TriedPlanner
from lewm_cli.evaluate.eval_result import summarize
from lewm_cli.heads import LatentMap, Points
from lewm_cli.latent import ENCODERS, LatentResult, LatentScores
from lewm_cli.latent.latent_result import (
    Coverage,
    DistanceBin,
    Distances,
    Gaussianity,
    GaussianReference,
    MapQuantity,
    Neighbor,
    NeighborStrip,
    QuantileBand,
    Spectrum,
    TrueDistance,
)
from lewm_cli.methods import Provenance, RunCard, TrainConfig
from lewm_cli.offline import ActionRanking, GoalRetrieval, OfflineResult, PredictionErrors
from lewm_cli.offline.offline_result import Drawn, Retrieved
from lewm_cli.probe import FEATURES, SIZED, Imagination, ImaginedTarget, OpenLoop, ProbeResult, SampleSize
from lewm_cli.probe.imagination_result import ImaginedReading, OpenLoopError, ReadError
from lewm_cli.probe.probe_result import ProbePoint, ProbeScore, TargetResult
from lewm_cli.report.run_report import RunReport
from lewm_cli.statistics import BreakEven, Difference, Estimate, Rate
from lewm_cli.surprise import DETECTORS, EpisodeCurves, PerturbationResult, SurpriseResult
from lewm_cli.surprise.perturbation_result import DetectorScore, PerturbedEpisode
from lewm_cli.surprise.surprise_result import Curve
from lewm_cli.train import HeldOutLatents, HeldOutMeasured, StepsTaken, TrainingHistory, Warned

SIDE = 32
NOTHING = TrainingHistory((), (), (), None)


def bare_report(name: str = "tworoom/lewm", task: str = "tworoom") -> RunReport:
    """A run on which nothing was measured and whose log is gone."""
    return RunReport(
        name=name,
        card=card(task),
        parameters=202_094,
        history=NOTHING,
        evaluation=None,
        improved=None,
        films=None,
        offline=None,
        probe=None,
        surprise=None,
        perturbations=(),
        latent=None,
        decoded=None,
        doses=None,
    )


def full_report(name: str = "tworoom/lewm", dataset: str = "tworoom/test", frames: str | None = None) -> RunReport:
    """A run with one of everything.

    Args:
        name: of the run.
        dataset: name of what it was measured on.
        frames: base64 WebP to take instead of gray frames.
    """
    generator = np.random.default_rng(0)
    made = _made(name, dataset)
    return replace(
        bare_report(name),
        history=history(),
        evaluation=evaluation(made),
        improved=improvement(made),
        films=films(made, generator, frames),
        probe=probe(made, generator),
        offline=offline(made),
        surprise=surprise(made, generator),
        perturbations=tuple(perturbation(made, generator, kind) for kind in ("teleport", "color")),
        latent=latent(made, generator),
        decoded=decoded(made, generator),
    )


def card(task: str = "tworoom") -> RunCard:
    """The header of a run."""
    return RunCard(
        model=ModelConfig(),
        inputs=Inputs(task=task, frameskip=5, actions=ActionStats(mean=(0.0, 0.0), std=(1.0, 1.0))),
        provenance=Provenance(
            dataset=_identity("tworoom/demos"),
            held_out=(2, 5),
            trained_on=("0" * 16,),
            train=TrainConfig(),
            step=300,
            device="cpu",
            versions={"python": "3.11.7", "torch": "2.6.0"},
            command="lewm train tworoom --preset small",
            finished="2026-01-01T00:00:00+00:00",
        ),
    )


def history(steps: int = 12, names: tuple[str, ...] = ("prediction", "SIGReg")) -> TrainingHistory:
    """A training that goes well, with a warning; its loss has parts of these names."""
    taken = tuple(
        StepsTaken(
            step=25 * k,
            total_steps=25 * steps,
            loss=1 / k,
            parts={"prediction": 0.3 / k} | {name: 9.0 / k + number for number, name in enumerate(names[1:], start=1)},
            lr=1e-3,
            gradient_norm=1.0,
            data_seconds=0.001,
            update_seconds=0.08,
            clips_per_second=700.0,
            eta_seconds=1.0,
        )
        for k in range(1, steps + 1)
    )
    measured = tuple(
        HeldOutMeasured(100 * k, HeldOutLatents(dict.fromkeys(names[1:], 3.0 / k), 0.1 / k, 0.3, 0.9, 0.7, 7.0, 0.01))
        for k in range(1, steps // 4 + 1)
    )
    return TrainingHistory(taken, measured, (Warned(50, "the latent space is <collapsing> & narrow"),), 131.2)


def improvement(made: dict[str, Any]) -> ImproveResult:
    """A planner that aims at anchors, in place of the protocol's which reaches half as much."""
    numbers, known = tuple(range(20)), {"head_sha256": None, "prior_sha256": None, "seconds_per_plan": 0.4}
    plain = PlannerChoice.of(EvalProtocol().planning)
    chosen = plain.changed(anchors="tworoom/demos", iterations=7)
    tried = [
        TriedPlanner(choice=choice, reached=(tuple(k < reached for k in numbers),), **known)
        for choice, reached in ((plain, 9), (chosen, 18))
    ]
    pairs = PairSet(offset=75, budget=150, episodes=numbers, start_rows=numbers, random=(False,) * 20)
    trials = Trials(dataset=made["dataset"], pairs=(pairs,), tried=tuple(tried))
    return ImproveResult(
        protocol=EvalProtocol(),
        validation=trials,
        chosen=chosen,
        test=trials,
        gains=tuple(ImproveResult.gained(trials, ())),
        seconds_per_plan_before=0.4,
        seconds_per_plan_now=0.1,
        **made,
    )


def evaluation(made: dict[str, Any]) -> EvalResult:
    """Forty pairs in two groups."""
    episodes = [
        EpisodeResult(
            seed=42,
            episode=k,
            start_row=30 * k,
            goal_row=30 * k + 25,
            groups=("at least 32 px apart", "other room") if k % 3 == 0 else ("at least 32 px apart",),
            solved_at_start=k % 20 == 0,
            success=k % 8 > 0,
            first_hit=(0 if k % 20 == 0 else 10 + k) if k % 8 > 0 else None,
            held=k % 4 > 0 if k % 8 > 0 else None,
            final_distance=3.0,
            route_valid=k % 2 == 0,
            random_success=k % 5 == 0,
            iterations=30,
            flops=1e9,
        )
        for k in range(40)
    ]
    protocol = EvalProtocol(pairs=40)
    return EvalResult(
        protocol=protocol,
        manifest=None,
        workers=2,
        redrawn=None,
        head_sha256=None,
        **summarize(episodes, protocol, plans=44, split=TimeSplit(planner=44 * 0.42), seconds=31.2),
        **made,
    )


def films(made: dict[str, Any], generator: np.random.Generator, frames: str | None = None) -> FilmResult:
    """Three pairs: reached with two plans, missed with two, and reached with none; frames grow darker by the step."""
    pairs = tuple(
        PlanFilm(
            number=number,
            episode=number,
            start_row=number,
            goal_row=number + 25,
            groups=groups,
            success=success,
            first_hit=steps if success else None,
            goal=frames or _webp(np.full((SIDE, SIDE), 90)),
            goal_position=(20.0, 8.0),
            frames=_sheet(steps + 1, frames),
            path=Points.of(_walk(generator, steps + 1), 0.01),
            latents=(Points.of(_walk(generator, steps + 1), 0.01),),
            goal_latent=(Points.of([[4.0, -3.0]], 0.01),),
            plans=tuple(_plan(generator, step) for step in planned),
        )
        for number, success, steps, planned, groups in (
            (3, True, 20, (0, 10), ("other room",)),
            (7, False, 50, (0, 25), ("at least 32 px apart", "other room")),
            (9, True, 4, (), ()),
        )
    )
    points = Points.of(SIDE / 2 + 5 * generator.normal(size=(50, 2)), 0.01)
    cloud = LatentMap(method="PCA", shares=(0.37, 0.2), points=points)
    return FilmResult(
        protocol=EvalProtocol(pairs=40), frame_size=SIDE, frameskip=5, latent_maps=(cloud,), films=pairs, **made
    )


def _plan(generator: np.random.Generator, step: int) -> FilmedPlan:
    """A plan of 30 iterations, of which three are kept: six candidates, two of them elites."""
    return FilmedPlan(
        step=step,
        seconds=0.42,
        lowest=tuple((1 / np.arange(1, 31)).tolist()),
        mean=tuple((500 / np.arange(1, 31)).tolist()),
        iterations=tuple(
            Candidates(
                iteration=iteration,
                costs=tuple(sorted(generator.uniform(0, 9 / iteration, 6).tolist())),
                elites=2,
                paths=Points.of([_walk(generator, 6) for _ in range(6)], 0.01),
            )
            for iteration in (1, 3, 30)
        ),
        path=Points.of(_walk(generator, 26), 0.01),
        imagined=(Points.of(_walk(generator, 6), 0.01),),
    )


def _walk(generator: np.random.Generator, length: int) -> np.ndarray:
    """A path from the middle of the frame, which does not leave it."""
    steps = generator.normal(size=(length, 2)).cumsum(axis=0)
    return (SIDE / 2 + steps - steps[0]).clip(1, SIDE - 1)


def _sheet(count: int, sheet: str | None) -> Frames:
    columns = 8
    rows = -(-count // columns)
    levels = (250 - 4 * np.arange(rows * columns)).reshape(rows, columns)
    return Frames(count=count, columns=columns, sheet=sheet or _webp(np.kron(levels, np.ones((SIDE, SIDE)))))


def offline(made: dict[str, Any], starts: int = 20) -> OfflineResult:
    """A model that predicts for four of six steps, and ranks actions well for near goals."""
    owners, steps = np.arange(starts) // 2, np.arange(1, 7)
    imagined = 0.2 * steps * np.linspace(0.8, 1.2, starts)[:, None]
    copied = np.ones((starts, 6))

    def ranking(horizon: int, drawn: Drawn, percentile: float) -> ActionRanking:
        ranks = np.linspace(percentile - 0.05, percentile + 0.05, starts)
        return ActionRanking(
            horizon=horizon,
            drawn=drawn,
            percentile=Estimate.of_mean(ranks, owners),
            first=Rate.of(ranks > percentile, owners),
            untrained=0.5,
            above_untrained=Estimate.of_mean(ranks - 0.5, owners),
            percentiles=tuple(ranks.tolist()),
        )

    def retrieved(share: float) -> Retrieved:
        found = Rate.of(np.arange(starts) < share * starts, owners)
        return Retrieved(nearest=found, among_five=found, median_rank=3.0)

    return OfflineResult(
        **made,
        seed=42,
        frameskip=5,
        history=3,
        seconds_per_row=0.1,
        horizon=5,
        candidates=100,
        std=1.0,
        rows=tuple(range(starts)),
        episodes=tuple(owners.tolist()),
        errors=PredictionErrors(
            copying=(0.1,) * 6,
            share=tuple(Estimate.of_ratio(*step, owners) for step in zip(imagined.T, copied.T, strict=True)),
            mean=(4.0,) * 6,
            untrained=(1.2,) * 6,
            break_even=BreakEven.of(imagined, copied, owners),
            break_even_mean=BreakEven.of(imagined, 4 * copied, owners),
        ),
        rankings=tuple(ranking(*each) for each in ((1, "recorded", 0.9), (1, "normal", 0.94), (5, "recorded", 0.6))),
        retrievals=tuple(
            GoalRetrieval(
                horizon=horizon,
                frames=39,
                model=retrieved(share),
                copying=retrieved(0.1),
                untrained=retrieved(0),
                above_copying=Difference.of(np.arange(starts) < share * starts, np.arange(starts) < 2, owners),
                ranks=(3.0,) * starts,
            )
            for horizon, share in ((1, 0.9), (5, 0.1))
        ),
    )


def probe(made: dict[str, Any], generator: np.random.Generator) -> ProbeResult:
    """Two quantities, one without a unit."""

    def scores(best: float) -> dict[str, ProbeScore]:
        found = (best, best, best - 0.01, 0.5, 0.3, -0.01)
        return {
            feature: ProbeScore(mse=1 - r2, r=abs(r2) ** 0.5, r2=r2, r2_low=r2 - 0.02, r2_high=r2 + 0.01, rmse=3.0)
            for feature, r2 in zip(FEATURES, found, strict=True)
        }

    places = generator.normal(size=(80, 2))
    points = tuple(
        ProbePoint(
            row=row,
            episode=16 + row % 4,
            actual=(100 + 40 * x, y),
            linear=(100 + 30 * x, 0.8 * y),
            mlp=(100 + 39 * x, y),
            map=(x, y),
        )
        for row, (x, y) in enumerate(places.tolist())
    )
    return ProbeResult(
        train_frames=800,
        test_frames=200,
        train_episodes=tuple(range(16)),
        test_episodes=tuple(range(16, 20)),
        latent=8,
        recipe="least squares",
        seed=0,
        targets=(
            TargetResult(name="agent x", unit="px", linear=scores(0.93), mlp=scores(0.998), sizes=sizes()),
            TargetResult(name="heading", unit="", linear=scores(0.4), mlp=scores(0.95)),
        ),
        left_out={"speed": "is constant"},
        map_explained=(0.63, 0.19),
        points=points,
        imagination=imagination(),
        open_loop=OpenLoop(
            frameskip=4,
            history=3,
            episodes=20,
            horizons=tuple(
                OpenLoopError(
                    asked=asked,
                    steps=steps,
                    imagined=0.02,
                    copying=0.4,
                    ratio=Estimate(value=0.05, low=0.04, high=0.07),
                )
                for asked, steps in ((15, 4), (25, 6))
            ),
        ),
        **made,
    )


def sizes() -> tuple[SampleSize, ...]:
    """Better with more frames, and far below nothing with few."""

    def read(best: float) -> dict[str, Estimate]:
        return {feature: Estimate(value=best, low=best - 0.1, high=best + 0.01) for feature in SIZED}

    found = ((100, -5.0, 0.4), (300, 0.6, 0.8), (800, 0.93, 0.998))
    return tuple(SampleSize(frames=frames, linear=read(linear), mlp=read(mlp)) for frames, linear, mlp in found)


def imagination() -> Imagination:
    """The first quantity is foreseen as far as it was tried, the second until step 3."""

    def reading(step: int | None) -> ImaginedReading:
        rates = {"imagined": 4.0 if step is None else 9.0, "copying": 8.0, "encoded": 0.1}
        errors = {
            source: tuple(ReadError(rmse=1 + rate * ahead, r2=0.9) for ahead in range(1, 6))
            for source, rate in rates.items()
        }
        return ImaginedReading(errors=errors, break_even=BreakEven(horizon=5, step=step, low=step, high=None))

    return Imagination(
        horizon=5,
        frameskip=4,
        history=3,
        stretches=40,
        episodes=4,
        targets=tuple(
            ImaginedTarget(name=name, unit=unit, linear=reading(2), mlp=reading(step))
            for name, unit, step in (("agent x", "px", None), ("heading", "", 3))
        ),
    )


def latent(made: dict[str, Any], generator: np.random.Generator) -> LatentResult:
    """A latent space of four dimensions, two quantities, a map by each method, and a strip of three frames."""

    def estimate(value: float) -> Estimate:
        return Estimate(value=value, low=value - 0.05, high=value + 0.05)

    def scores(share: float) -> LatentScores:
        bins = tuple(
            DistanceBin(
                low=float(k),
                high=k + 1.0,
                pairs=90,
                correlation=share if k else None,
                latent_low=0.9 * share * k,
                latent_median=share * k,
                latent_high=1.1 * share * k + 0.1,
            )
            for k in range(4)
        )
        return LatentScores(
            spectrum=Spectrum(
                variances=(2.0, 1.0, 0.5, 0.0),
                narrow=1,
                eigenvalues=(2.5, 0.9, 0.1, 0.0),
                effective_rank=3.1 * share,
                participation_ratio=2.1,
                correlation=0.2,
                largest_correlation=0.41,
            ),
            gaussianity=Gaussianity(
                statistic=2.5,
                shape=1.75 / share,
                directions=(0.5, 3.0),
                quantiles=tuple(
                    QuantileBand(gaussian=q, low=q - 0.2, median=q, high=q + 0.2) for q in (-3.0, 0.0, 3.0)
                ),
            ),
            coverage=Coverage(coverage=0.9 * share, density=share),
            straightness=estimate(share - 0.5),
            distances=Distances(
                correlation=estimate(share), by_distance=bins, by_time=bins, nearest=estimate(2 / share)
            ),
        )

    places = Points.of(generator.normal(size=(30, 2)), 0.001)
    picture = _webp(np.full((SIDE, SIDE), 120))
    frames = tuple(
        Neighbor(row=90 * k, episode=k, latent_distance=0.1 * k, true_distance=1.5 * k, picture=picture)
        for k in range(3)
    )
    return LatentResult(
        frames=360,
        episodes=tuple(range(20)),
        frameskip=5,
        latent=4,
        components=None,
        seed=0,
        scores={encoder: scores(share) for encoder, share in zip(ENCODERS, (0.9, 0.2), strict=True)},
        gaussian=GaussianReference(
            samples=20,
            statistic=1.05,
            statistic_low=0.7,
            statistic_high=1.6,
            shape=0.33,
            shape_low=0.25,
            shape_high=0.45,
        ),
        true_distance=TrueDistance(
            quantities=("agent x",), unit="px", nearest=1.25, random=71.0, coverage=Coverage(coverage=0.95, density=1.0)
        ),
        neighbors=(NeighborStrip(frames=frames),),
        maps=(
            LatentMap(method="PCA", shares=(0.6, 0.3), points=places),
            LatentMap(method="UMAP", shares=None, points=places),
        ),
        quantities=(
            MapQuantity(name="agent x", unit="px", values=tuple(generator.normal(size=30).tolist())),
            MapQuantity(name="heading", unit="", values=(0.5,) * 30),
        ),
        left_out={"speed": "is constant"},
        **made,
    )


def surprise(made: dict[str, Any], generator: np.random.Generator) -> SurpriseResult:
    """Episodes of several lengths, the first value of some unknown, a zero among the values."""
    episodes = tuple(
        EpisodeCurves(
            episode=k,
            curves={detector: (None if k % 2 else 0.0, *_curve(generator, length)) for detector in DETECTORS},
        )
        for k, length in enumerate((18, 12, 15, 9, 18, 18, 4))
    )
    return SurpriseResult(frameskip=5, seed=0, episodes=episodes, left_out=(9,), **made)


def perturbation(made: dict[str, Any], generator: np.random.Generator, kind: str) -> PerturbationResult:
    """A change that every detector but the untrained one sees."""
    event, jump = 8, {"model": 200.0, "untrained": 1.1, "latent": 20.0, "pixels": 5.0}
    episodes = []
    for number in range(6):
        untouched = {detector: _curve(generator, 18) for detector in DETECTORS}
        perturbed = {
            detector: (*curve[:event], curve[event] * jump[detector], *curve[event + 1 :])
            for detector, curve in untouched.items()
        }
        size = 60.0 + number
        episodes.append(
            PerturbedEpisode(episode=number, event=event, size=size, untouched=untouched, perturbed=perturbed)
        )
    return PerturbationResult(
        perturbation=kind,
        size_unit="px",
        frameskip=5,
        seed=0,
        scores={
            detector: DetectorScore(
                ratio=ratio,
                ratio_low=0.7 * ratio,
                ratio_high=1.4 * ratio,
                log_ratio=float(np.log(ratio)),
                log_ratio_low=float(np.log(ratio)) - 0.3,
                log_ratio_high=float(np.log(ratio)) + 0.3,
                after=30.0 if kind == "color" else 1.1,
                after_low=20.0 if kind == "color" else 0.9,
                after_high=40.0 if kind == "color" else 1.3,
                t_test=2e-9 if ratio > 2 else 0.3,
                wilcoxon=0.0 if ratio > 100 else 0.03,
                auroc=1.0 if ratio > 2 else 0.52,
            )
            for detector, ratio in jump.items()
        },
        episodes=tuple(episodes),
        **made,
    )


def decoded(made: dict[str, Any], generator: np.random.Generator, horizon: int = 6) -> DecodeResult:
    """Imagination that comes away from the truth, where a copy does so at once."""

    def estimate(value: float, width: float) -> Estimate:
        return Estimate(value=value, low=value - width, high=value + width)

    def score(psnr: float) -> StepScore:
        likeness = Likeness(psnr=estimate(psnr, 1.0), ssim=estimate(0.9 + psnr / 1000, 0.001))
        return StepScore(likeness=likeness, changed=estimate(psnr - 12, 1.5))

    ends = {"imagined": (38.0, 31.0), "re-encoded": (48.0, 48.0), "copied": (26.0, 24.0), "mean": (27.0, 27.0)}
    frames = generator.integers(0, 256, (4, horizon + 1, SIDE, SIDE, 3), dtype=np.uint8)
    return DecodeResult(
        seed=0,
        decoder_sha256="e1" * 32,
        frameskip=5,
        horizon=horizon,
        episodes=(3, 4),
        stretches=8,
        steps={what: tuple(map(score, np.linspace(*span, horizon))) for what, span in ends.items()},
        changed_share=tuple(np.linspace(0.02, 0.05, horizon)),
        filmstrips=(Filmstrip.of(3, 120, frames), Filmstrip.of(4, 150, frames)),
        **made,
    )


def _made(run: str, dataset: str) -> dict[str, Any]:
    return {
        "run": run,
        "weights_sha256": "d9" * 32,
        "task": "tworoom",
        "dataset": _identity(dataset),
        "held_out": True,
        "seconds": 31.2,
        "device": "cpu",
        "versions": {"python": "3.11.7"},
        "command": f"lewm eval {run}",
        "time": "2026-01-01T00:10:00+00:00",
    }


def _identity(name: str) -> DatasetIdentity:
    return DatasetIdentity(name=name, episodes=20, rows=1800, fingerprint="ab" * 32)


def _curve(generator: np.random.Generator, length: int) -> Curve:
    return tuple((0.01 * np.exp(generator.normal(scale=0.7, size=length))).tolist())


def _webp(gray: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(gray.astype(np.uint8)).convert("RGB").save(file, "WEBP", lossless=True)
    return base64.b64encode(file.getvalue()).decode()
