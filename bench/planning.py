"""How fast plans are found: our CEM against stable_worldmodel's CEMSolver with its own LeWM, on the CPU.

    python bench/planning.py [--preset release] [--repeats 10] [--iterations 30] [--threads 2] [--table]

Both have the same (random) weights, start, goal and settings, 300 candidates and horizon 5, one environment, and encode
both images. They take turns, so that both see the same machine; the first round warms what is kept and is not counted.
Theirs gets the number of threads that is fastest for it, ours the most there are. First the costs of the same
candidates are compared. Printed are medians of wall seconds and of processor seconds, which depend less on what else
the machine does; the ratio of each with a 95 % interval over the rounds (bootstrap of the median); and how much of the
float32 matrix peak measured on one core, times the processor seconds, the operations needed are.

Operations needed, with two per multiply-add: of S candidates, I iterations, horizon T and a window of W steps, from one
frame, where D is the width, L the number of blocks, A the inner width of attention, M that of the MLP and P that of the
projector. The window grows once over min(W, T) steps and is then computed anew for each of the T - W others:

    tokens n = min(W, T) + W * max(0, T - W)           of every block but the last
    block = n * (3 * D * A + A * D + 2 * D * M)        queries, keys, values, output, MLP
    last  = n * 2 * D * A + T * (D * A + A * D + 2 * D * M)
    needed = 2 * S * I * ((L - 1) * block + last + T * (2 * D * P + L * 6 * D * D + actions))

Theirs computes every position of a window: min(W, t) tokens at step t in all blocks, their modulation, and the
projection of each.
"""

import argparse
import contextlib
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_worldmodel.policy import PlanConfig
from stable_worldmodel.solver.cem import CEMSolver
from torch import Tensor

from lewm_cli.config import ModelConfig, PlannerConfig
from lewm_cli.model import LeWM
from lewm_cli.plan import CEM, LatentCost, Problem, Separately
from lewm_cli.tasks import find_task
from lewm_cli.workers import available_cores

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parity"))
from theirs import BLOCK_DIM, build_theirs

RESAMPLES = 10_000
TOLERANCE = 1e-4
"""The most that costs may differ, relative to the largest."""


def sized(preset: str) -> ModelConfig:
    """The sizes of a preset of TwoRoom's."""
    return ModelConfig.model_validate(find_task("tworoom").presets[preset].get("model", {}))


def scrambled(config: ModelConfig) -> LeWM:
    """A model none of whose weights is zero, as those of a new one are."""
    model = LeWM(config, BLOCK_DIM)
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


def ours(
    model: LeWM, planner: PlannerConfig, environments: int = 1, dtype: torch.dtype = torch.float32
) -> Callable[[], Any]:
    """What plans with this package."""
    solver = CEM(planner) if environments == 1 else Separately(CEM(planner))
    start, goal = (frames(model.config, environments, seed) for seed in (0, 1))
    imagine = model.imaginer(dtype)

    def plan() -> None:
        generators = [torch.Generator().manual_seed(number) for number in range(environments)]
        with torch.inference_mode():
            cost = LatentCost(model, model.embed(start), model.embed(goal)[:, 0], imagine=imagine)
        solver.solve(Problem(cost, BLOCK_DIM, generators))

    return plan


def theirs(model: torch.nn.Module, config: ModelConfig, planner: PlannerConfig) -> Callable[[], Any]:
    """What plans with stable_worldmodel."""
    solver = CEMSolver(
        model,
        batch_size=1,
        num_samples=planner.candidates,
        n_steps=planner.iterations,
        topk=planner.elites,
        seed=0,
    )
    space = gymnasium.spaces.Box(-1, 1, shape=(1, 2), dtype=np.float32)
    solver.configure(action_space=space, n_envs=1, config=PlanConfig(planner.horizon, planner.horizon, action_block=5))
    info = {"pixels": frames(config, 1, 0), "goal": frames(config, 1, 1), "action": torch.zeros(1, 1, BLOCK_DIM)}

    def plan() -> None:
        with contextlib.redirect_stdout(None), torch.inference_mode():
            solver.solve(dict(info))

    return plan


def compare_costs(model: LeWM, other: Any) -> float:
    """The largest difference of costs of the same candidates, relative to the largest cost."""
    start, goal = (frames(model.config, 1, seed) for seed in (0, 1))
    candidates = torch.randn(1, 32, 5, BLOCK_DIM, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        mine = LatentCost(model, model.embed(start), model.embed(goal)[:, 0])(candidates)
        expanded = {"pixels": start, "goal": goal, "action": torch.zeros(1, 1, BLOCK_DIM)}
        info = {key: value.unsqueeze(1).expand(-1, 32, *value.shape[1:]) for key, value in expanded.items()}
        reference = other.get_cost(info, candidates)
    return float((mine - reference).abs().max() / reference.abs().max())


def timed(plan: Callable[[], Any], threads: int) -> tuple[float, float]:
    """Wall seconds and processor seconds."""
    torch.set_num_threads(threads)
    wall, cpu = time.perf_counter(), time.process_time()
    plan()
    return time.perf_counter() - wall, time.process_time() - cpu


def interval(ratios: np.ndarray) -> tuple[float, float]:
    """Of the median, 95 %, over resampled rounds."""
    drawn = np.random.default_rng(0).choice(ratios, (RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(low), float(high)


def against(preset: str, planner: PlannerConfig, repeats: int, cores: int) -> None:
    """Compare with the peer, and print."""
    config = sized(preset)
    model, other = scrambled(config), build_theirs(config)
    other.load_state_dict(model.state_dict(), strict=True)
    other.eval().requires_grad_(False)
    apart = compare_costs(model, other)
    assert apart < TOLERANCE, f"costs differ by {apart:.1e}"
    short = theirs(other, config, planner.model_copy(update={"iterations": 2}))
    sweep = {threads: min(timed(short, threads)[0] for _ in range(2)) for threads in range(1, cores + 1)}
    threads = min(sweep, key=lambda count: sweep[count])
    contenders = {
        "theirs": (theirs(other, config, planner), threads),
        "ours": (ours(model, planner), cores),
        "ours, bfloat16": (ours(model, planner, dtype=torch.bfloat16), cores),
    }
    rounds = [[timed(*contender) for contender in contenders.values()] for _ in range(repeats + 1)][1:]
    most, (least, more) = peak(), needed(config, planner)
    print(f"{preset}, {planner.candidates} x {planner.iterations}, horizon {planner.horizon}, {repeats} rounds, "
          f"at most {cores} threads, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    print(f"largest difference of costs {apart:.1e}; theirs with {threads} threads of {sorted(sweep)}")
    print(f"needed {least / 1e9:.1f} GFLOP, theirs does {more / 1e9:.1f}; float32 peak {most / 1e9:.0f} GFLOP/s/core")
    for column, name in enumerate(contenders):
        wall, cpu = (statistics.median(round_[column][field] for round_ in rounds) for field in (0, 1))
        line = f"{name:>15}: {wall:7.3f} s wall, {cpu:7.3f} s CPU, {least / cpu / most:4.0%} of the peak needed"
        for field, title in ((0, "wall"), (1, "CPU")):
            ratios = np.array([round_[0][field] / round_[column][field] for round_ in rounds])
            low, high = interval(ratios)
            line += f"; {title} {np.median(ratios):.2f} x [{low:.2f}, {high:.2f}]"
        print(line)


def table(preset: str, planner: PlannerConfig, repeats: int) -> None:
    """Print how long plans take as one number of the settings changes."""
    model = scrambled(sized(preset))
    changes: dict[str, tuple[int, ...]] = {
        "candidates": (75, 150, 300, 600, 1200),
        "iterations": (5, 10, 30, 60),
        "horizon": (1, 2, 3, 5, 10),
        "environments": (1, 2, 10, 50),
    }
    print(f"{preset}, one thread per product\n{'':>12} {'':>6} {'ms/plan':>9} {'CPU ms/plan':>11} {'CPU ms/unit':>11}")
    for name, values in changes.items():
        for value in values:
            environments = value if name == "environments" else 1
            changed = {} if name == "environments" else {name: value}
            if name == "horizon":
                changed["receding"] = value
            plan = ours(model, planner.model_copy(update=changed), environments)
            plan()
            seconds = [timed(plan, 1) for _ in range(repeats)]
            wall, cpu = (statistics.median(one[field] for one in seconds) / environments * 1e3 for field in (0, 1))
            unit = cpu if name == "environments" else cpu / value
            print(f"{name:>12} {value:>6} {wall:>9.1f} {cpu:>11.1f} {unit:>11.3f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=["release", "small"], default="release")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--threads", type=int, default=available_cores(), help="at most; fewer on a busy machine")
    parser.add_argument(
        "--table", action="store_true", help="cost against candidates, iterations, horizon, environments"
    )
    options = parser.parse_args()
    planner = PlannerConfig(iterations=options.iterations)
    if options.table:
        table(options.preset, planner, options.repeats)
    else:
        against(options.preset, planner, options.repeats, options.threads)


if __name__ == "__main__":
    main()
