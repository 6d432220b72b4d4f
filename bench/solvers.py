"""Makes docs/planning-measured.md and its figures: success against milliseconds per plan, every solver, the same pairs.

    python bench/solvers.py HOME [--run tworoom/lewm] [--dataset tworoom/test] [--pairs 600] [--out docs]

Milliseconds are of one plan for one environment on one thread, the median over pairs and rounds; the settings take
turns, so that all of them see the same machine. What was measured is kept in HOME, so that an interrupted run goes on.
"""

import argparse
import base64
import io
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from torch import Tensor

from lewm_cli.config import EvalProtocol, PlannerConfig
from lewm_cli.control import Planner
from lewm_cli.data import Dataset
from lewm_cli.diagnose import film
from lewm_cli.evaluate import (
    EvalResult,
    choose_pairs,
    evaluate,
)
from lewm_cli.plan import Problem, Solver, find_solver
from lewm_cli.provenance import installed_versions
from lewm_cli.report.page.style import (
    EVENT,
    INK,
    MODEL,
    MUTED,
    OTHER,
    THIRD,
    Drawing,
    finish,
    house_style,
    label_ends,
    log_axis,
    log_limits,
    new_figure,
)
from lewm_cli.report.plain_svg import plain_svg
from lewm_cli.simulate import Pair, SimulatorPool, simulator_pool
from lewm_cli.statistics import Difference
from lewm_cli.store import Home, Run, load_run
from lewm_cli.tasks import Task, find_task
from lewm_cli.workers import available_cores

TIMED_PAIRS, ROUNDS, RANKED_PAIRS = 8, 7, 60

MARGIN = 0.02
"""Share of pairs that a faster setting may lose against the reference and still count as no worse."""

MARGIN_PIXELS = 12
"""Around the candidates that are drawn."""

REFERENCE = "cem 300 x 30"

COLORS = (MODEL, OTHER, THIRD, EVENT, INK, MUTED)
"""One per solver."""


@dataclass(frozen=True)
class Setting:
    """One way to plan."""

    solver: str
    title: str
    planner: PlannerConfig


def cem_like(solver: str, *sizes: tuple[int, int, int]) -> list[Setting]:
    """A solver with so many candidates, elites and iterations."""
    return [
        Setting(solver, f"{solver} {c} x {i}", PlannerConfig(solver=solver, candidates=c, elites=e, iterations=i))
        for c, e, i in sizes
    ]


def others(solver: str, *sizes: tuple[int, int], **more: object) -> list[Setting]:
    """A solver without elites, with so many candidates and iterations."""
    return [
        Setting(solver, f"{solver} {c} x {i}", PlannerConfig(solver=solver, candidates=c, iterations=i, **more))
        for c, i in sizes
    ]


def settings() -> list[Setting]:
    """All that are drawn, the reference first."""
    return [
        *cem_like("cem", (300, 30, 30), (300, 30, 10), (100, 10, 10), (100, 10, 5), (64, 8, 4), (48, 6, 3)),
        *cem_like("icem", (300, 30, 10), (100, 10, 5), (64, 8, 4), (48, 6, 3)),
        *others("mppi", (300, 30), (300, 10), (100, 5)),
        *others("random-shooting", (9000, 1), (1000, 1), (300, 1)),
        *others("gradient", (16, 30), (4, 30)),
        *cem_like("cem-gd", (100, 10, 5), (64, 8, 3)),
    ]


def variants() -> list[Setting]:
    """Settings with one thing changed."""
    changes = {"bfloat16": {"precision": "bfloat16"}, "bounds": {"bounds": True}}
    changed = [one for one in settings() if one.title in (REFERENCE, "icem 100 x 5")]
    return [
        Setting(one.solver, f"{one.title}, {name}", one.planner.model_copy(update=change))
        for name, change in changes.items()
        for one in changed
    ]


@dataclass(frozen=True)
class Measured:
    """What came of a setting.

    Args:
        setting: how it plans.
        milliseconds: of one plan on one thread, (rounds,), each the median over pairs.
        result: of the evaluation.
    """

    setting: Setting
    milliseconds: np.ndarray
    result: EvalResult

    @property
    def typical(self) -> float:
        """Milliseconds, median."""
        return float(np.median(self.milliseconds))


@dataclass(frozen=True)
class Bench:
    """A run in its simulator, and the pairs."""

    home: Path
    run: Run
    task: Task
    dataset: Dataset
    pairs: list[Pair]

    def latents(self, count: int) -> list[Tensor]:
        """Those of start and goal (2, D) of so many pairs."""
        simulator, found = self.task.make_simulator(), []
        for pair in self.pairs[:: len(self.pairs) // count][:count]:
            simulator.begin(pair.start, pair.goal)
            found.append(self.run.embed(np.stack([simulator.frame(), simulator.goal_frame()])))
        return found

    def problem(self, planner: Planner, latents: Tensor, number: int) -> Problem:
        """The first plan of a pair, anew, so that every setting draws the same."""
        cost = planner.latent_cost(latents[:1], latents[1:])
        return planner.problem(cost, [torch.Generator().manual_seed(number)])

    def timed(self, all_settings: list[Setting]) -> dict[str, np.ndarray]:
        """Milliseconds of every setting, round by round; the first round warms up."""
        seconds: dict[str, list[float]] = {one.title: [] for one in all_settings}
        pairs = self.latents(TIMED_PAIRS)
        planners = {one.title: Planner(self.run, one.planner) for one in all_settings}
        for _ in range(ROUNDS + 1):
            for one in all_settings:
                solver, planner = find_solver(one.planner), planners[one.title]
                problems = [self.problem(planner, pair, number) for number, pair in enumerate(pairs)]
                seconds[one.title].append(statistics.median(_seconds(solver, problem) for problem in problems))
        return {title: 1000 * np.array(times[1:]) for title, times in seconds.items()}

    def ranked(self) -> tuple[np.ndarray, np.ndarray]:
        """Spearman of bfloat16 with float32 costs of what the first and the last iteration tried, (pairs,) each."""
        reference, half = settings()[0].planner, variants()[0].planner
        exact, near = (Planner(self.run, planner) for planner in (reference, half))
        found = []
        for number, pair in enumerate(self.latents(RANKED_PAIRS)):
            problem = self.problem(exact, pair, number)
            plan = find_solver(reference, record=True).solve(problem)
            with torch.inference_mode():
                cost = near.latent_cost(pair[:1], pair[1:])
                tried = plan.history[0], plan.history[-1]
                found.append([spearmanr(one.cost[0], cost(one.actions)[0]).statistic for one in tried])
        first, last = np.array(found).T
        return first, last

    def evaluated(self, setting: Setting, fleet: SimulatorPool) -> EvalResult:
        """Success on the pairs; kept, and taken from there the next time."""
        kept = self.home / f"{setting.title.replace(' ', '').replace(',', '-')}-{len(self.pairs)}.json"
        if not kept.exists():
            protocol = EvalProtocol(pairs=len(self.pairs), planner=setting.planner)
            result = evaluate(
                self.run,
                self.task,
                self.dataset,
                self.pairs,
                protocol,
                Planner(self.run, setting.planner),
                held_out=True,
                advance=lambda done: None,
                simulators=fleet,
            )
            kept.write_text(result.model_dump_json())
        return EvalResult.model_validate_json(kept.read_text())


def _seconds(solver: Solver, problem: Problem) -> float:
    begun = time.perf_counter()
    solver.solve(problem)
    return time.perf_counter() - begun


def main() -> None:
    """Measure every setting, and write the page and its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("--run", default="tworoom/lewm")
    parser.add_argument("--dataset", default="tworoom/test")
    parser.add_argument("--pairs", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    home = Home(options.home, (options.home,))
    run, dataset = load_run(home, options.run, torch.device("cpu")), home.find_dataset(options.dataset)
    task = find_task(run.card.inputs.task)
    pairs = choose_pairs(dataset, task, np.arange(dataset.episodes), EvalProtocol(pairs=options.pairs))
    kept = options.home / "planning"
    kept.mkdir(exist_ok=True)
    bench = Bench(kept, run, task, dataset, pairs)
    everything = settings() + variants()
    milliseconds = bench.timed(everything)
    with simulator_pool(task, available_cores(), print) as fleet:
        fleet.wait()
        measured = []
        for one in everything:
            measured.append(Measured(one, milliseconds[one.title], bench.evaluated(one, fleet)))
            print(f"{one.title:>24}: {measured[-1].typical:8.1f} ms, {measured[-1].result.overall.success}")
    plain, changed = measured[: len(settings())], measured[len(settings()) :]
    with house_style():
        (options.out / "planning-solvers.svg").write_text(plain_svg([_frontier(plain)]), encoding="utf-8")
    (options.out / "planning-candidates.png").write_bytes(_candidates(bench, plain[0].result))
    (options.out / "planning-measured.md").write_text(_page(bench, plain, changed), encoding="utf-8")


def _frontier(measured: list[Measured]) -> Drawing:
    """Success against milliseconds, a line per solver."""
    figure, axes = new_figure(3.4)
    solvers = dict.fromkeys(one.setting.solver for one in measured)
    colors = dict(zip(solvers, COLORS[: len(solvers)], strict=True))
    axes.set_xlim(*log_limits(np.array([one.typical for one in measured])))
    log_axis(axes, "x")
    ends = []
    for solver, color in colors.items():
        points = sorted((one for one in measured if one.setting.solver == solver), key=lambda one: one.typical)
        x = [one.typical for one in points]
        rates = [one.result.overall.success for one in points]
        axes.plot(x, [100 * rate.rate for rate in rates], "o-", color=color, ms=4, mew=0)
        for where, rate in zip(x, rates, strict=True):
            axes.plot([where, where], [100 * rate.low, 100 * rate.high], color=color, lw=2.4, alpha=0.35)
        ends.append((100 * rates[-1].rate, solver, color))
    least = min(one.result.overall.success.low for one in measured)
    axes.set_ylim(max(0.0, 100 * least - 5), 101)
    axes.set_title("pairs whose goal was reached (%), 95% intervals")
    axes.set_xlabel("milliseconds per plan, one thread", loc="left")
    label_ends(axes, ends)
    success = measured[0].result.overall.success
    chance = f"random actions {measured[0].result.overall.random.rate:.0%}"
    return finish(figure, "frontier", f"Success against time per plan: {success.trials} pairs, {chance}")


def _candidates(bench: Bench, result: EvalResult) -> bytes:
    """Candidates of a plan drawn over the start frame by cost, iteration by iteration."""
    crossing = [one for one in result.episodes if "other room" in one.groups and one.success]
    chosen = max(crossing, key=lambda one: one.first_hit or 0)
    films = film(bench.run, bench.task, bench.dataset, result, [chosen], lambda done: None)
    (filmed,) = films.films
    kept = [filmed.plans[0].iterations[place] for place in (0, 1, 2, -1)]
    costs = [cost for tried in kept for cost in tried.costs]
    figure = Figure(figsize=(2.4 * len(kept), 2.75), layout="constrained")
    sheet = imageio.imread(base64.b64decode(filmed.frames.sheet), extension=".webp")
    frame = sheet[: films.frame_size, : films.frame_size]
    drawn = np.concatenate([tried.paths.array().reshape(-1, 2) for tried in kept])
    side = min(float(len(frame)), np.ptp(drawn, axis=0).max() + 2 * MARGIN_PIXELS)
    left, top = ((drawn.min(axis=0) + drawn.max(axis=0) - side) / 2).clip(0, len(frame) - side)
    for axes, tried in zip(figure.subplots(1, len(kept)), kept, strict=True):
        axes.imshow(frame, alpha=0.6)
        for cost, path in sorted(zip(tried.costs, tried.paths.array().tolist(), strict=True), reverse=True):
            rank = np.searchsorted(np.sort(costs), cost) / len(costs)
            axes.plot(*np.array(path).T, color=colormaps["plasma"](0.9 * rank), lw=1.2, alpha=1 - 0.5 * rank)
        axes.plot(*filmed.goal_position, "x", color="black", ms=8, mew=2)
        axes.set_xlim(left, left + side)
        axes.set_ylim(top + side, top)
        axes.set_title(f"iteration {tried.iteration}", fontsize=10)
        axes.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100)
    return buffer.getvalue()


def _page(bench: Bench, measured: list[Measured], changed: list[Measured]) -> str:
    reference, clusters = measured[0], np.array([one.episode for one in measured[0].result.episodes])
    chance = reference.result.overall.random
    lines = [
        "# Planning, measured",
        "",
        "Made by `python bench/solvers.py HOME`; every number was measured by it. It keeps the outcomes of pairs, "
        "which are the",
        "same whenever the code computes the same, and measures times anew.",
        "",
        f"{bench.run.name} on {len(bench.pairs)} pairs of {len(np.unique(clusters))} episodes of {bench.dataset.name}, "
        "none of which it was trained on: goals 25 steps",
        f"ahead, 50 steps allowed, horizon 5. A random policy reaches {chance}. Differences are paired, in points;",
        f"intervals are 95 % over recorded episodes. *No worse*: the interval of the difference to {REFERENCE} lies",
        f"above -{100 * MARGIN:.0f} points.",
        "",
        "![success against milliseconds per plan](planning-solvers.svg)",
        "",
        *_table([(one, reference) for one in measured], clusters),
        "",
        "## With one thing changed",
        "",
        "Half the precision, and candidates clipped to the actions that the task has; each compared with the same",
        "setting without.",
        "",
    ]
    plain = {one.setting.title: one for one in measured}
    lines += _table([(one, plain[one.setting.title.rpartition(", ")[0]]) for one in changed], clusters)
    first, last = bench.ranked()
    lines += [
        "",
        f"How costs in bfloat16 rank what float32 tried, Spearman over the candidates of {REFERENCE} for {len(first)} "
        "pairs, median",
        f"and least: {np.median(first):.4f} and {first.min():.4f} in the first iteration, {np.median(last):.4f} and "
        f"{last.min():.4f} in the last, whose candidates",
        "hardly differ any more.",
    ]
    threads = f"One thread for the times, {TIMED_PAIRS} pairs, the median of {ROUNDS} rounds and their range"
    versions = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
    lines += ["", f"{threads}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {versions}.", ""]
    return "\n".join(lines)


def _table(compared: list[tuple[Measured, Measured]], clusters: np.ndarray) -> list[str]:
    """Every setting against another, or itself, which says nothing."""
    lines = [
        "| solver | ms per plan | of the time | success | difference | no worse |",
        "|---|---|---|---|---|---|",
    ]
    return lines + [f"| {' | '.join(_row(*pair, clusters))} |" for pair in compared]


def _row(one: Measured, reference: Measured, clusters: np.ndarray) -> list[str]:
    this, other = (np.array([pair.success for pair in each.result.episodes]) for each in (one, reference))
    difference = Difference.of(this, other, clusters)
    low, high = one.milliseconds.min(), one.milliseconds.max()
    return [
        one.setting.title,
        f"{one.typical:.1f} [{low:.1f}, {high:.1f}]",
        f"{np.median(one.milliseconds / reference.milliseconds):.1%}",
        str(one.result.overall.success),
        "" if one is reference else str(difference),
        "" if one is reference else "yes" if difference.low > -MARGIN else "not shown",
    ]


if __name__ == "__main__":
    main()
