"""Makes docs/baselines.md: what a plan costs with LeWM, PLDM and DINO-WM, and how far each comes with equal operations.

    python bench/baselines.py speed [--rounds 3]
    python bench/baselines.py success HOME [--jobs 2]

`speed`: networks of the release's sizes with random weights, which computing does not depend on, find plans with the
same solver and the same number of candidates. They take turns, so that all see the same machine. Ratios have 95 %
intervals over the rounds (bootstrap of the median).

`success`: TwoRoom. Every method is trained here with three seeds by the `small` preset, those on patch tokens with the
frozen encoder of the LeWM of the same seed, and plans with as many operations as LeWM has with some settings. What is
done already is not done again, so that an interrupted bench goes on.
"""

import argparse
import json
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from lewm_cli.config import (
    DinoWMConfig,
    DinoWMNopropConfig,
    FrozenEncoderConfig,
    ModelConfig,
    NetworkConfig,
    PlannerConfig,
)
from lewm_cli.evaluate import EvalResult
from lewm_cli.methods import METHODS
from lewm_cli.model import PlanFlops, WorldModel
from lewm_cli.plan import LatentCost, Problem
from lewm_cli.plan.cem import CEM
from lewm_cli.provenance import installed_versions
from lewm_cli.statistics import Difference, Rate
from lewm_cli.store import Home, load_run
from lewm_cli.workers import available_cores
from results import Step, do, done_path, headings, line, recording, write_section

BLOCK_DIM, PROPRIO = 10, 4
"""PushT's: five actions of two numbers, and the agent's position and velocity."""

PAPER = PlannerConfig()
"""300 candidates, 30 iterations, horizon 5."""

TRIED = PlannerConfig(candidates=8, iterations=2, elites=2)
"""What is measured: a whole plan of DINO-WM takes more than an hour here."""

WARM_UP = PlannerConfig(candidates=2, iterations=1, elites=2)

DINOV2 = FrozenEncoderConfig(
    patch_size=14, width=384, depth=12, heads=6, mlp=1536, layer_scale=True, epsilon=1e-6, grid=37
)
"""DINOv2-small."""

RESAMPLES = 10_000


@dataclass(frozen=True)
class Contender:
    """A network of the release's size that plans.

    Args:
        title: in the table.
        method: that trains such a network.
        sizes: of it.
        plain: imagine with the plain rollout, not with the fastest that the network has.
    """

    title: str
    method: str
    sizes: NetworkConfig
    plain: bool = False

    def network(self) -> WorldModel:
        """With random weights."""
        torch.manual_seed(0)
        network = METHODS[self.method].network(self.sizes, BLOCK_DIM).eval().requires_grad_(False)
        assert isinstance(network, WorldModel)
        return network


CONTENDERS = (
    Contender("LeWM", "lewm", ModelConfig()),
    Contender("LeWM, plain rollout", "lewm", ModelConfig(), plain=True),
    Contender("PLDM", "pldm", ModelConfig()),
    Contender("DINO-WM, 196 pixels", "dinowm", DinoWMConfig(encoder=DINOV2, image_size=196, proprio=PROPRIO)),
    Contender("DINO-WM, 224 pixels", "dinowm", DinoWMConfig(encoder=DINOV2, image_size=224, proprio=PROPRIO)),
    Contender(
        "DINO-WM without proprioception, 196 pixels",
        "dinowm_noprop",
        DinoWMNopropConfig(encoder=DINOV2, image_size=196),
    ),
)


def plan(network: WorldModel, settings: PlannerConfig, *, plain: bool) -> float:
    """Find one plan; returns the processor seconds of the search, without the two images, of which there are few."""
    size = network.config.image_size
    draw = torch.Generator().manual_seed(1)
    frames = torch.randn(1, 2, 3, size, size, generator=draw)
    proprio = torch.randn(1, 2, PROPRIO, generator=draw) if isinstance(network.config, DinoWMConfig) else None
    with torch.inference_mode():
        start, goal = network.embed(frames, proprio).split(1, dim=1)
        imagine = WorldModel.imaginer(network) if plain else network.imaginer()
        cost = LatentCost(network, start, goal[:, 0], imagine=imagine)
        begun = time.process_time()
        CEM(settings).solve(Problem(cost, BLOCK_DIM, [torch.Generator().manual_seed(0)]))
        return time.process_time() - begun


def speed(rounds: int) -> str:
    """Measure what plans cost, and say it."""
    torch.set_num_threads(1)  # processor seconds depend less on what else the machine does
    networks = [one.network() for one in CONTENDERS]
    pairs = list(zip(CONTENDERS, networks, strict=True))
    for one, net in pairs:
        plan(net, WARM_UP, plain=one.plain)
    seconds = np.array([[plan(net, TRIED, plain=one.plain) for one, net in pairs] for _ in range(rounds)])
    flops = [PlanFlops.of(net, PAPER.horizon) for net in networks]
    tried, whole = TRIED.candidates * TRIED.iterations, PAPER.candidates * PAPER.iterations
    rows = [
        *headings(
            "model",
            "parameters",
            "GFLOP per candidate",
            f"TFLOP per plan of {PAPER.candidates} x {PAPER.iterations}",
            "operations, times LeWM's",
            f"CPU s of {TRIED.candidates} x {TRIED.iterations}",
            "CPU time, times LeWM's",
            "GFLOP/s",
        )
    ]
    for number, (one, net, count) in enumerate(zip(CONTENDERS, networks, flops, strict=True)):
        operations = count.images + whole * count.candidate
        times = operations / (flops[0].images + whole * flops[0].candidate)
        median = float(np.median(seconds[:, number]))
        rate = tried * count.candidate / median / 1e9
        rows.append(
            line(
                one.title,
                f"{net.parameter_count / 1e6:.1f} M",
                f"{count.candidate / 1e9:.2f}",
                f"{operations / 1e12:,.1f}",
                f"{times:.0f}",
                f"{median:.2f}",
                _interval(seconds[:, number] / seconds[:, 0]),
                f"{rate:.0f}",
            )
        )
    versions = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
    return "\n".join([SPEED, "", *rows, "", f"{rounds} rounds on one thread; {versions}.", ""])


def _interval(ratios: np.ndarray) -> str:
    """Median and 95 % over resampled rounds."""
    drawn = np.random.default_rng(0).choice(ratios, (RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return f"{np.median(ratios):.0f} [{low:.0f}, {high:.0f}]"


FOLDER, TASK, SEEDS, PAIRS = "baselines", "tworoom", (0, 1, 2), 300
PLANNING = ("lewm", "pldm", "dinowm", "dinowm_noprop")
PATCHES = ("dinowm", "dinowm_noprop")
"""Those that see with the frozen encoder of LeWM's run of the same seed."""

BUDGETS = ((30, 2), (100, 5), (300, 10))
"""Candidates and iterations with which LeWM plans; the others get as many operations."""

FEWEST = 10
"""Candidates of an iteration: fewer say nothing of where the elites lie."""


@dataclass(frozen=True)
class Trained:
    """A run of the comparison at equal operations."""

    method: str
    seed: int

    @property
    def run(self) -> str:
        """Its name."""
        return f"{TASK}/{self.method}-seed{self.seed}"

    @property
    def training(self) -> Step:
        """Its training; that of LeWM has to come first."""
        options = ["--method", self.method, "--preset", "small", "--seed", str(self.seed)]
        if self.method in PATCHES:
            options += ["--encoder", Trained("lewm", self.seed).run]
        where = ("train", TASK, "--dataset", f"{TASK}/demos", *options, "--name", self.run, "--overwrite")
        return Step(f"{self.method}-seed{self.seed}", "training", where)

    def evaluating(self, candidates: int, iterations: int) -> Step:
        """Its success with so many candidates and iterations."""
        search = {"candidates": candidates, "iterations": iterations, "elites": max(2, candidates // 10)}
        settings = (word for key, value in search.items() for word in ("--set", f"planner.{key}={value}"))
        pairs = ("--dataset", f"{TASK}/test", "--protocol", "heldout", "--episodes", str(PAIRS))
        how = ("--record", "0", "--workers", "1")
        name = f"{self.method}-seed{self.seed}-{candidates}x{iterations}"
        return Step(name, "evaluating", ("eval", self.run, *pairs, *settings, *how))

    def settings(self, home: Path) -> list[tuple[int, int]]:
        """Candidates and iterations that take as many operations as those of LeWM's run of the same seed."""
        mine, lewms = (_candidate(home, run) for run in (self.run, Trained("lewm", self.seed).run))
        affordable = [candidates * iterations * lewms / mine for candidates, iterations in BUDGETS]
        iterations = [
            min(most, max(1, round(tried / FEWEST))) for tried, (_, most) in zip(affordable, BUDGETS, strict=True)
        ]
        return [(max(2, round(tried / many)), many) for tried, many in zip(affordable, iterations, strict=True)]

    def results(self, home: Path) -> list[EvalResult]:
        """By budget."""
        steps = (self.evaluating(*one) for one in self.settings(home))
        return [EvalResult.model_validate(json.loads(do(home, FOLDER, step).printed)) for step in steps]


def _candidate(home: Path, run: str) -> int:
    """Operations of imagining one candidate."""
    return PlanFlops.of(load_run(Home.locate(home), run).world_model, PAPER.horizon).candidate


def _measure(home: Path, one: Trained) -> None:
    do(home, FOLDER, one.training)
    one.results(home)


def measure(home: Path, jobs: int) -> None:
    """Record, train and evaluate; LeWM first, whose encoders the others see with."""
    for name, episodes, seed in (("demos", 300, 0), ("test", 300, 1000)):
        do(home, FOLDER, recording(TASK, name, episodes, seed))
    with Pool(jobs) as pool:
        for methods in (PLANNING[:1], PLANNING[1:]):
            runs = [Trained(method, seed) for method in methods for seed in SEEDS]
            pool.map(partial(_measure, home), runs, chunksize=1)


def success(home: Path, picture: Path) -> str:
    """What was measured, as far as all seeds of a method are finished."""
    found = {method: runs for method in PLANNING if (runs := _finished(home, method))}
    episodes = np.array([one.episode for one in found["lewm"][0][0].episodes])
    solved = {
        method: [
            np.array([[one.success for one in seed[budget].episodes] for seed in runs])
            for budget in range(len(BUDGETS))
        ]
        for method, runs in found.items()
    }
    random = Rate.of(np.array([one.random_success for one in found["lewm"][0][0].episodes]), episodes)
    rows = [
        *headings("method", "candidates x iterations", "GFLOP per plan", "s per plan", "success", "minus LeWM, points")
    ]
    for method, runs in found.items():
        for budget in range(len(BUDGETS)):
            results = [seed[budget] for seed in runs]
            planner = results[0].protocol.planner
            difference = Difference.of(solved[method][budget], solved["lewm"][budget], episodes)
            rows.append(
                line(
                    f"`{method}`",
                    f"{planner.candidates} x {planner.iterations}",
                    f"{results[0].flops_per_plan / 1e9:.2f}",
                    f"{np.mean([one.seconds_per_plan for one in results]):.3f}",
                    Rate.of(solved[method][budget], episodes),
                    "" if method == "lewm" else difference,
                )
            )
    _draw(found, solved, episodes, random, picture)
    return "\n".join([SUCCESS.format(random=random, picture=picture.name), "", *rows, ""])


def _finished(home: Path, method: str) -> list[list[EvalResult]]:
    runs = [Trained(method, seed) for seed in SEEDS]
    if not all(done_path(home, FOLDER, run.training).exists() for run in runs):
        return []
    steps = [run.evaluating(*one) for run in runs for one in run.settings(home)]
    if not all(done_path(home, FOLDER, step).exists() for step in steps):
        return []
    return [run.results(home) for run in runs]


def _draw(
    found: dict[str, list[list[EvalResult]]],
    solved: dict[str, list[np.ndarray]],
    episodes: np.ndarray,
    random: Rate,
    path: Path,
) -> None:
    """Success against operations per plan."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    for method, runs in found.items():
        operations = [runs[0][budget].flops_per_plan / 1e9 for budget in range(len(BUDGETS))]
        rates = [Rate.of(each, episodes) for each in solved[method]]
        middle = np.array([100 * rate.rate for rate in rates])
        reach = np.abs([[100 * rate.low, 100 * rate.high] for rate in rates] - middle[:, None]).T
        axes.errorbar(operations, middle, reach, marker="o", capsize=3, label=method)
    axes.axhline(100 * random.rate, color="gray", linestyle="--", label="random actions")
    axes.set(xscale="log", xlabel="GFLOP per plan", ylabel="success, %", ylim=(0, 101))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure one of the two, and write its part of the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    fast = commands.add_parser("speed")
    fast.add_argument("--rounds", type=int, default=3)
    equal = commands.add_parser("success")
    equal.add_argument("home", type=Path)
    equal.add_argument("--jobs", type=int, default=available_cores())
    equal.add_argument("--page-only", action="store_true", help="write what is finished, and measure nothing")
    for each in (fast, equal):
        each.add_argument("--out", type=Path, default=Path("docs/baselines.md"))
    options = parser.parse_args()
    if options.what == "speed":
        text = speed(options.rounds)
    else:
        if not options.page_only:
            measure(options.home.absolute(), options.jobs)
        text = success(options.home.absolute(), options.out.with_suffix(".png"))
    write_section(options.out, options.what, text)


SPEED = """\
## What a plan costs

Networks of the release's sizes with random weights, PushT's actions. DINO-WM has DINOv2-small as its encoder, and plans
on 196 patches of 196-pixel frames, as the published weights do, or on 256 of 224 pixels. Operations are those of the
plain rollout, a multiply-add counted as two, both images included. LeWM and PLDM are one network; *plain rollout* is
LeWM without the faster way that it has to imagine (folded weights, what is known already not computed again).

The paper says that LeWM plans 48 times as fast as DINO-WM; that is time on its GPU."""

SUCCESS = """\
## Success with equal operations

TwoRoom, models of the `small` preset, three training seeds, the same 300 pairs, goals 25 environment steps ahead;
random actions reach {random}. DINO-WM sees with the frozen encoder of the LeWM of the same seed, patch tokens, not with
DINOv2: what is compared is planning on patches with planning in one small latent. Each row of a method has as many
operations per plan as the row of LeWM. Intervals are 95 %, over training seeds and episodes together.

![Success against operations per plan]({picture})"""


if __name__ == "__main__":
    main()
