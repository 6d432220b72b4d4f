"""Measures the page that `lewm demo` writes against Python: size, start, speed of planning, and goals reached.

    python bench/demo.py HOME [--run tworoom/lewm] [--pairs 200] [--budget 100] [--loads 5] [--plans 40] [--json FILE]

The page is opened as a file in headless Chromium, where it has one thread; Python has one, too. Plans are those of the
page's own settings. The two take turns, so that both see the same machine, and the page's time of a plan is from the
request to its answer. Goals: pairs of start and goal all over TwoRoom, at least 32 pixels apart, the same for both: the
page's model in the page's simulator, and Python's planner in the real one. Chance differs, as they draw other numbers.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lewm_cli.config import EvalProtocol
from lewm_cli.control import Clock, Planner
from lewm_cli.demo.live_model import PLANNER
from lewm_cli.evaluate import EvaluationLoop
from lewm_cli.flows.demo import write_demo
from lewm_cli.provenance import installed_versions
from lewm_cli.simulate import InProcess, Pair
from lewm_cli.statistics import Difference, Rate
from lewm_cli.store import NO_OPTIONS, Home, Run, load_run
from lewm_cli.tasks import TWOROOM

MEGABYTES, SECONDS, PLANS_PER_SECOND, FEWER = 6.0, 3.0, 5.0, 0.03
"""Most of size and start, least plans per second, and the share of goals by which the page may stay behind Python."""

APART = 32.0
"""Least pixels from start to goal: nearer ones are reached by wandering."""

PLACES = 21.0, 203.0
"""Where the disk touches the outer walls."""

TURN = 4
"""Plans of one before the other's."""

TIMED = """async ([latent, goal, seed]) => {
    const request = { latent: Float32Array.from(latent), goal: Float32Array.from(goal), seed, warm: null };
    const begun = performance.now();
    await demo.model.plan({ ...request, settings: demo.given.planner, kinematics: null, draws: null });
    return performance.now() - begun;
}"""

DRIVEN = """async ([start, goal, seed, budget]) => {
    const { world, model, given: { planner: settings, frameskip, actions: { mean } } } = demo;
    await world.begin(seed);
    if (!world.placeGoal(goal) || !world.placeAgent(start)) throw new Error(`not free: ${start}, ${goal}`);
    const wanted = await model.encode(world.goal.seen);
    let warm = null;
    for (let steps = 0; steps < budget && !world.now.reached; steps += settings.receding * frameskip) {
        const latent = await model.encode(world.now.seen);
        const asked = { latent, goal: wanted, settings, seed: seed * budget + steps, kinematics: null, draws: null };
        warm = await model.plan({ ...asked, warm });
        const taken = Math.min(settings.receding * frameskip, budget - steps);
        await world.act(warm.actions.subarray(0, taken * mean.length));
    }
    return world.now.reached;
}"""


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium of this machine."""
    from playwright.sync_api import sync_playwright

    found = next(path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name)))
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


def opened(running: Any, path: Path) -> tuple[Any, float]:
    """The page, and seconds from the navigation until it can plan."""
    page = running.new_context().new_page()
    page.goto(path.absolute().as_uri())
    return page, page.evaluate("demo.ready.then(() => performance.now())") / 1000


def timed(run: Run, page: Any, pairs: list[Pair], plans: int) -> tuple[list[float], list[float]]:
    """Milliseconds of plans in the page and in Python, which take turns; the first of each are not counted."""
    simulator, planner = TWOROOM.make_simulator(), Planner(run, PLANNER)
    found: tuple[list[float], list[float]] = [], []
    for turn in range(-1, plans // TURN):
        pair = pairs[turn % len(pairs)]
        simulator.begin(pair.start, pair.goal)
        latents = run.embed(np.stack([simulator.frame(), simulator.goal_frame()]))
        cost = planner.latent_cost(latents[:1], latents[1:])
        in_page = [page.evaluate(TIMED, [*latents.tolist(), seed]) for seed in range(TURN)]
        here = []
        for seed in range(TURN):
            problem = planner.problem(cost, [torch.Generator().manual_seed(seed)])
            begun = time.perf_counter()
            planner.solver.solve(problem)
            here.append(1000 * (time.perf_counter() - begun))
        if turn >= 0:
            found[0].extend(in_page)
            found[1].extend(here)
    return found


def drawn_pairs(count: int, seed: int) -> list[Pair]:
    """Starts and goals at free places all over both rooms."""
    draw, simulator = np.random.default_rng(seed), TWOROOM.make_simulator()

    def place() -> np.ndarray:
        while True:
            at = draw.uniform(*PLACES, 2).astype(np.float32)
            if simulator.route_valid(at[None]):
                return at

    pairs: list[Pair] = []
    while len(pairs) < count:
        start, goal = place(), place()
        if np.linalg.norm(start - goal) >= APART:
            pairs.append(Pair(len(pairs), len(pairs), len(pairs), start, goal))
    return pairs


def reached_in_page(page: Any, pairs: list[Pair], budget: int) -> list[bool]:
    """Whether the page reached the goals."""
    reached = []
    for pair in pairs:
        reached.append(page.evaluate(DRIVEN, [pair.start.tolist(), pair.goal.tolist(), pair.episode, budget]))
        if len(reached) % 50 == 0:
            print(f"{sum(reached)} of {len(reached)} goals reached in the page", flush=True)
    return reached


def reached_in_python(run: Run, pairs: list[Pair], budget: int) -> tuple[list[bool], list[bool]]:
    """Whether Python's planner reached the goals, and random actions."""
    protocol = EvalProtocol(pairs=len(pairs), budget=budget, planner=PLANNER)
    loop = EvaluationLoop(protocol, Planner(run, PLANNER), InProcess(TWOROOM), Clock(), lambda done: None)
    results = loop.play(pairs, None, time.monotonic())
    return [one.success for one in results], [one.random_success for one in results]


def main() -> None:
    """Measure, print a table, and write the numbers if a file is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("--run", default="tworoom/lewm")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--budget", type=int, default=100, help="environment steps of a pair")
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--plans", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    home = Home(options.home, (options.home,))
    run = load_run(home, options.run, torch.device("cpu"))
    pairs = drawn_pairs(options.pairs, options.seed)
    with tempfile.TemporaryDirectory() as folder, browser() as running:
        version = running.version
        path = write_demo(home, options.run, Path(folder) / "demo.html", print, dataset=None, external=NO_OPTIONS).path
        size = path.stat().st_size / 1e6
        torch.set_num_threads(1)  # the page was written with more
        ready = []
        for _ in range(options.loads):
            page, seconds = opened(running, path)
            ready.append(seconds)
            page.context.close()
        page, _ = opened(running, path)
        in_page, here = timed(run, page, pairs, options.plans)
        print(f"{statistics.median(in_page):.0f} ms per plan in the page, {statistics.median(here):.0f} in Python")
        page_reached = reached_in_page(page, pairs, options.budget)
    in_python, at_random = reached_in_python(run, pairs, options.budget)
    difference = Difference.of(np.array(page_reached), np.array(in_python), np.arange(len(pairs)))
    measured = {
        "run": run.name,
        "planner": PLANNER.model_dump(mode="json"),
        "megabytes": size,
        "seconds_until_ready": ready,
        "milliseconds_in_page": in_page,
        "milliseconds_in_python": here,
        "budget": options.budget,
        "pairs": [[pair.start.tolist(), pair.goal.tolist()] for pair in pairs],
        "reached_in_page": page_reached,
        "reached_in_python": in_python,
        "reached_at_random": at_random,
        "difference": difference.model_dump(mode="json"),
        "load": os.getloadavg()[0],
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "browser": version,
        "versions": installed_versions(),
    }
    if options.json:
        options.json.write_text(json.dumps(measured), encoding="utf-8")
    print("\n".join(table(measured, difference)))


def table(measured: dict[str, Any], difference: Difference) -> Iterator[str]:
    """The figures beside their limits."""
    rates = [
        Rate.of(np.array(measured[f"reached_{where}"]), np.arange(len(measured["pairs"])))
        for where in ("in_page", "in_python", "at_random")
    ]
    ready = statistics.median(measured["seconds_until_ready"])
    page, python = (statistics.median(measured[f"milliseconds_{where}"]) for where in ("in_page", "in_python"))
    rows = [
        ("size of the page", f"{measured['megabytes']:.2f} MB", f"at most {MEGABYTES:g} MB"),
        ("ready after", f"{ready:.2f} s", f"at most {SECONDS:g} s"),
        ("plans per second in the page", f"{1000 / page:.1f}", f"at least {PLANS_PER_SECOND:g}"),
        ("plans per second in Python", f"{1000 / python:.1f} ({page / python:.1f} times as many)", ""),
        ("goals reached in the page", str(rates[0]), ""),
        ("goals reached in Python", str(rates[1]), f"random actions: {rates[2].rate:.0%}"),
        ("difference in points", str(difference), f"at least -{100 * FEWER:g}"),
    ]
    yield from ("| what | measured | limit |", "|---|---|---|")
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield f"\nload {measured['load']:.1f} on {measured['cores']} cores; Chromium {measured['browser']}"


if __name__ == "__main__":
    main()
