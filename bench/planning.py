"""Makes docs/planning-speed.md: how fast our CEM plans, against stable_worldmodel's CEMSolver with its own LeWM.

    python bench/planning.py [--device cpu] [--repeats 10] [--out docs]

Both have the same (random) weights, start, goal and settings, 300 candidates and horizon 5, and encode both images.
They take turns, so that both see the same machine; the first round warms what is kept and is not counted. On a CPU
theirs gets the number of threads that is fastest for it, ours the most there are, for one environment; of 50, every one
is planned for on one thread. First the costs of the same candidates are compared. Ratios have 95 % intervals over the
rounds (bootstrap of the median). Processor seconds depend less on what else the machine does.

Operations needed, with two per multiply-add: of S candidates, I iterations, horizon T and a window of W steps, from one
frame, where D is the width, L the number of blocks, A the inner width of attention, M that of the MLP and P that of the
projector. The window grows once over min(W, T) steps and is then computed anew for each of the T - W others:

    tokens n = min(W, T) + W * max(0, T - W)           of every block but the last
    block = n * (3 * D * A + A * D + 2 * D * M)        queries, keys, values, output, MLP
    last  = n * 2 * D * A + T * (D * A + A * D + 2 * D * M)
    needed = 2 * S * I * ((L - 1) * block + last + T * (2 * D * P + L * 6 * D * D + actions))

Theirs computes every position of a window: min(W, t) tokens at step t in all blocks, their modulation, and the
projection of each. `actions` is what embedding an action block takes. The peak is that of large float32 products on one
core, by the best of what torch has.
"""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import gymnasium
import numpy as np
import torch
from scipy.stats import spearmanr
from stable_worldmodel.policy import PlanConfig
from stable_worldmodel.solver.cem import CEMSolver
from torch import Tensor

from lewm_cli.config import ModelConfig, PlannerConfig
from lewm_cli.methods import JEPA
from lewm_cli.plan import LatentCost, PerEnvironment, Problem, Solver
from lewm_cli.plan.cem import CEM
from lewm_cli.provenance import installed_versions
from lewm_cli.tasks import find_task
from lewm_cli.workers import available_cores

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parity"))
from theirs import BLOCK_DIM, build_theirs

RESAMPLES = 10_000
MANY = 50
"""Environments planned for together."""

CHANGES: dict[str, tuple[int, ...]] = {
    "candidates": (75, 150, 300, 600, 1200),
    "iterations": (1, 3, 10, 30),
    "horizon": (1, 2, 3, 5, 10),
    "environments": (1, 2, 10, 50),
}
"""What is changed, one at a time."""

TOLERANCE = 1e-4
"""The most that costs may differ, relative to the largest."""


def sized(preset: str) -> ModelConfig:
    """The sizes of a preset of TwoRoom's."""
    return ModelConfig.model_validate(find_task("tworoom").presets[preset].get("model", {}))


def scrambled(config: ModelConfig) -> JEPA:
    """A model none of whose weights is zero, as those of a new one are."""
    model = JEPA(config, BLOCK_DIM)
    generator = torch.Generator().manual_seed(0)
    for name, value in model.state_dict().items():
        if name.endswith("weight") and value.ndim > 1:
            value.copy_(torch.randn(value.shape, generator=generator) / value[0].numel() ** 0.5)
    return model.eval().requires_grad_(False)


def needed(config: ModelConfig, planner: PlannerConfig) -> tuple[float, float]:
    """Floating-point operations of a plan, ours and theirs; see above."""
    parts, latent, horizon, window = config.predictor, config.latent, planner.horizon, config.history
    width, inner = parts.width or latent, parts.heads * parts.head_dim
    actions = BLOCK_DIM * config.action_encoder.smoothed
    actions += (config.action_encoder.smoothed + latent) * config.action_encoder.expansion * latent
    project, modulation, mlp = 2 * latent * config.projector.hidden, 6 * width * width, 2 * width * parts.mlp
    tokens = min(window, horizon) + window * max(0, horizon - window)
    block = tokens * (4 * width * inner + mlp)
    last = tokens * 2 * width * inner + horizon * (2 * width * inner + mlp)
    ours = (parts.depth - 1) * block + last + horizon * (project + parts.depth * modulation + actions)
    every = sum(min(window, step) for step in range(1, horizon + 1))
    theirs = every * (parts.depth * (4 * width * inner + mlp + modulation) + project) + horizon * actions
    count = 2.0 * planner.candidates * planner.iterations
    return count * ours, count * theirs


def peak() -> float:
    """Float32 operations per second of one core in large products: the best of what torch has."""
    torch.set_num_threads(1)
    x, best = torch.randn(1024, 1024), 0.0
    for product in (torch.mm, lambda a, b: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "none")):
        for _ in range(10):
            begun = time.process_time()
            product(x, x)
            best = max(best, 2 * 1024**3 / (time.process_time() - begun))
    return best


def frames(config: ModelConfig, environments: int, seed: int) -> Tensor:
    """Normalized frames (E, 1, 3, H, W)."""
    shape = environments, 1, 3, config.image_size, config.image_size
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Contender:
    """What makes plans.

    Args:
        title: in the tables.
        plan: makes one for every environment.
        threads: per matrix product.
        environments: number of them.
    """

    title: str
    plan: Callable[[], None]
    threads: int
    environments: int = 1

    def timed(self) -> tuple[float, float]:
        """Wall seconds and processor seconds per plan."""
        torch.set_num_threads(self.threads)
        wall, cpu = time.perf_counter(), time.process_time()
        self.plan()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return wall / self.environments, cpu / self.environments


@dataclass(frozen=True)
class Models:
    """The same weights in both.

    Args:
        preset: of whose size they are.
        config: sizes.
        ours: of this package.
        theirs: of stable_worldmodel.
        device: where both are.
    """

    preset: str
    config: ModelConfig
    ours: JEPA
    theirs: Any
    device: torch.device

    @classmethod
    def of(cls, preset: str, device: torch.device) -> Self:
        """With random weights."""
        config = sized(preset)
        ours, theirs = scrambled(config), build_theirs(config)
        theirs.load_state_dict(ours.state_dict(), strict=True)
        return cls(preset, config, ours.to(device), theirs.to(device).eval().requires_grad_(False), device)

    def contender(self, planner: PlannerConfig, dtype: torch.dtype, threads: int, environments: int = 1) -> Contender:
        """What plans with this package, as an evaluation does."""
        solver: Solver = CEM(planner)
        if environments > 1 and self.device.type == "cpu":
            solver = PerEnvironment(solver)
        start, goal = (frames(self.config, environments, seed).to(self.device) for seed in (0, 1))
        imagine = self.ours.imaginer(dtype)

        def plan() -> None:
            generators = [torch.Generator().manual_seed(number) for number in range(environments)]
            with torch.inference_mode():
                cost = LatentCost(self.ours, self.ours.embed(start), self.ours.embed(goal)[:, 0], imagine=imagine)
            solver.solve(Problem(cost, BLOCK_DIM, generators))

        title = f"`lewm`, {str(dtype).removeprefix('torch.')}, {environments} environment{'s' * (environments > 1)}"
        return Contender(title, plan, threads, environments)

    def peer(self, planner: PlannerConfig, threads: int) -> Contender:
        """What plans with stable_worldmodel, which plans for one environment after the other."""
        solver = CEMSolver(
            self.theirs,
            batch_size=1,
            num_samples=planner.candidates,
            n_steps=planner.iterations,
            topk=planner.elites,
            seed=0,
            device=str(self.device),
        )
        space = gymnasium.spaces.Box(-1, 1, shape=(1, 2), dtype=np.float32)
        horizons = PlanConfig(planner.horizon, planner.horizon, action_block=5)
        solver.configure(action_space=space, n_envs=1, config=horizons)
        info = {"pixels": frames(self.config, 1, 0), "goal": frames(self.config, 1, 1)}
        info["action"] = torch.zeros(1, 1, BLOCK_DIM)
        there = {name: tensor.to(self.device) for name, tensor in info.items()}

        def plan() -> None:
            with contextlib.redirect_stdout(None), torch.inference_mode():
                solver.solve(dict(there))

        return Contender("stable_worldmodel, float32, 1 environment", plan, threads)

    @torch.inference_mode()
    def apart(self) -> tuple[float, float]:
        """How far float32 costs differ, relative to the largest, and Spearman of bfloat16 costs with them."""
        start, goal = (frames(self.config, 1, seed).to(self.device) for seed in (0, 1))
        candidates = torch.randn(1, 300, 5, BLOCK_DIM, generator=torch.Generator().manual_seed(2)).to(self.device)
        latents = self.ours.embed(start), self.ours.embed(goal)[:, 0]
        exact = LatentCost(self.ours, *latents)(candidates)
        near = LatentCost(self.ours, *latents, imagine=self.ours.imaginer(torch.bfloat16))(candidates)
        given = {"pixels": start, "goal": goal, "action": torch.zeros(1, 1, BLOCK_DIM, device=self.device)}
        info = {key: value.unsqueeze(1).expand(-1, 300, *value.shape[1:]) for key, value in given.items()}
        theirs = self.theirs.get_cost(info, candidates)
        difference = float((exact - theirs).abs().max() / theirs.abs().max())
        return difference, float(spearmanr(exact[0].cpu(), near[0].cpu()).statistic)


def fastest_threads(models: Models, cores: int) -> int:
    """That theirs plans with in the least time."""
    short = PlannerConfig(iterations=2)
    least = {threads: min(models.peer(short, threads).timed() for _ in range(3)) for threads in range(1, cores + 1)}
    return min(least, key=lambda threads: least[threads])


def interval(ratios: np.ndarray) -> str:
    """Median and 95 % over resampled rounds."""
    drawn = np.random.default_rng(0).choice(ratios, (RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return f"{np.median(ratios):.2f} [{low:.2f}, {high:.2f}]"


def against(models: Models, planner: PlannerConfig, repeats: int, cores: int, *, many: bool) -> list[str]:
    """Compare with the peer, and say how it went."""
    apart, ranked = models.apart()
    assert apart < TOLERANCE, f"costs differ by {apart:.1e}"
    threads = fastest_threads(models, cores) if models.device.type == "cpu" else cores
    contenders = [models.peer(planner, threads)]
    contenders += [models.contender(planner, dtype, cores) for dtype in (torch.float32, torch.bfloat16)]
    if many:
        contenders.append(models.contender(planner, torch.float32, 1, MANY))
    rounds = [[one.timed() for one in contenders] for _ in range(repeats + 1)][1:]
    seconds = np.array(rounds)  # (rounds, contenders, wall and processor)
    most, (least, more) = peak(), needed(models.config, planner)
    lines = [
        f"## Size of the {models.preset} preset: {planner.candidates} x {planner.iterations}",
        "",
        "| planner | ms per plan | times as fast | CPU ms per plan | times as little | of the float32 peak |",
        "|---|---|---|---|---|---|",
    ]
    for column, one in enumerate(contenders):
        wall, cpu = np.median(seconds[:, column], axis=0)
        ratios = [interval(seconds[:, 0, field] / seconds[:, column, field]) if column else "" for field in (0, 1)]
        share = f"{least / cpu / most:.0%}"
        lines.append(f"| {one.title} | {1000 * wall:.1f} | {ratios[0]} | {1000 * cpu:.1f} | {ratios[1]} | {share} |")
    lines += [
        "",
        f"{repeats} rounds, load {os.getloadavg()[0]:.1f} at the end; theirs with {threads} of {cores} threads, its "
        "fastest.",
        f"The largest difference of float32 costs to theirs is {apart:.0e} of the largest cost. Rank correlation of",
        f"bfloat16 with float32 costs of 300 random candidates: {ranked:.4f}. A plan needs {least / 1e9:.1f} GFLOP,",
        f"and theirs does {more / 1e9:.1f}. The peak is {most / 1e9:.0f} GFLOP/s per core.",
    ]
    if many:
        share = interval(seconds[:, -1, 0] / seconds[:, 1, 0])
        lines.append(f"A plan among {MANY} takes {share} of the time of one alone.")
    return [*lines, ""]


def linearity(models: Models, planner: PlannerConfig, repeats: int) -> list[str]:
    """How long plans take as one number of the settings changes."""
    lines = [
        f"## What it depends on, size of the {models.preset} preset",
        "",
        f"{planner.candidates} candidates, {planner.iterations} iterations and horizon {planner.horizon}, but for what",
        "a row changes; float32, one thread per product.",
        "",
        "| changed | to | ms per plan | CPU ms per plan | GFLOP needed | CPU ms per GFLOP |",
        "|---|---|---|---|---|---|",
    ]
    for name, values in CHANGES.items():
        for value in values:
            changed = {} if name == "environments" else {name: value}
            if name == "horizon":
                changed["receding"] = value
            its = planner.model_copy(update=changed)
            one = models.contender(its, torch.float32, 1, value if name == "environments" else 1)
            one.plan()
            wall, cpu = 1000 * np.median([one.timed() for _ in range(repeats)], axis=0)
            work = needed(models.config, its)[0] / 1e9
            lines.append(f"| {name} | {value} | {wall:.1f} | {cpu:.1f} | {work:.2f} | {cpu / work:.2f} |")
    return [*lines, ""]


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=available_cores(), help="at most; fewer on a busy machine")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    options = parser.parse_args()
    device = torch.device(options.device)
    release, small = (Models.of(preset, device) for preset in ("release", "small"))
    there = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{options.threads} cores"
    versions = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
    lines = [
        "# How fast plans are found",
        "",
        "Made by `python bench/planning.py`, which also says how; every number was measured by it in one run, with "
        "random weights.",
        "",
        f"On {there}; {versions}.",
        "",
        *against(release, PlannerConfig(), options.repeats, options.threads, many=False),
        *against(small, PlannerConfig(), 2 * options.repeats, options.threads, many=True),
        *linearity(release, PlannerConfig(iterations=3), 5),
        *linearity(small, PlannerConfig(), 5),
    ]
    name = "planning-speed.md" if device.type == "cpu" else f"planning-speed-{device.type}.md"
    (options.out / name).write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
