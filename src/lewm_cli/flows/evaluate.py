"""Evaluate a run: find its test episodes, draw pairs, plan, and keep the result beside the run."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from lewm_cli.errors import LewmError
from lewm_cli.evaluate import EvalResult, EvalSeries, Film, SeriesPoint, choose_episodes, evaluate, film, remarks
from lewm_cli.flows.planned import EvalRequest, Planned, find_planned
from lewm_cli.flows.progress import Progress
from lewm_cli.flows.results import keep_result
from lewm_cli.model import resolve_device
from lewm_cli.plan import CEM
from lewm_cli.store import Home, Run, load_run
from lewm_cli.tasks import Task, find_task


@dataclass(frozen=True)
class Evaluated:
    """A result and where it was stored; the films of it lie beside it.

    Args:
        result: of the first seed and offset.
        path: of the result, or of the series where there is one.
        series: all of them, if there are several.
    """

    result: EvalResult
    path: Path
    series: EvalSeries | None = None


def evaluate_run(
    home: Home,
    request: EvalRequest,
    say: Callable[[str], None],
    progress: Progress,
    video: Callable[[Film], None] | None = None,
) -> Evaluated:
    """Evaluate by planning in the simulator, and store the result under `<run>.run/results/`.

    Args:
        home: where the run and the recording lie.
        request: what to evaluate.
        say: told what was chosen on the user's behalf.
        progress: shows the environment steps done.
        video: takes what the camera saw, pair by pair, of the first seed and offset.

    Raises:
        UsageError: a protocol that is not there, or cannot mean anything.
        LewmError: no such run or dataset, no simulator, too few test episodes, or a manifest of other pairs.
    """
    device = resolve_device(request.device)
    if device.type == "cpu":
        torch.set_num_threads(1)  # the planner brings its own threads
    run = load_run(home, request.run, device, foreign=request.foreign, say=say)
    task = _simulated_task(run)
    planned = find_planned(home, run, task, request, say)
    farthest = max((one.protocol for one in planned), key=lambda protocol: protocol.offset)
    for remark in remarks(task, farthest, run.card.inputs.frameskip):
        say(f"unusual: {remark}")
    work = _Evaluation(home, run, task, progress)
    if request.seeds == 1 and len(planned) == 1:
        stored = work.evaluate(planned[0], "evaluating", video)
        work.film(planned[0], stored.result, request.films)
        return stored
    return work.series(planned, request, video)


@dataclass(frozen=True)
class _Evaluation:
    """Of one run in its simulator."""

    home: Home
    run: Run
    task: Task
    progress: Progress

    def evaluate(self, planned: Planned, title: str, video: Callable[[Film], None] | None) -> Evaluated:
        """Measure and store."""
        protocol = planned.protocol
        with self.progress(title, protocol.pairs * protocol.budget, "steps") as advance:
            result = evaluate(
                self.run,
                self.task,
                planned.dataset,
                planned.pairs,
                protocol,
                CEM(protocol.planner),
                held_out=planned.held_out,
                advance=advance,
                film=video,
            )
        result = result.model_copy(update={"manifest": planned.origin})
        return Evaluated(result, keep_result(self.home, self.run, "eval", result))

    def film(self, planned: Planned, result: EvalResult, count: int) -> None:
        """Film some pairs of a result, and store that."""
        chosen = choose_episodes(result, count)
        if chosen:
            with self.progress("filming", len(chosen) * result.protocol.budget, "steps") as advance:
                filmed = film(self.run, self.task, planned.dataset, result, chosen, advance)
            keep_result(self.home, self.run, "films", filmed)

    def series(self, planned: list[Planned], request: EvalRequest, video: Callable[[Film], None] | None) -> Evaluated:
        """Every offset under every seed, stored one by one and together.

        The first of them is measured last, for pages and tables show the newest result.
        """
        begun, points = time.monotonic(), list[SeriesPoint]()
        for one in reversed(planned):
            stored = list[Evaluated]()
            for number in reversed(range(request.seeds)):
                title = f"offset {one.protocol.offset}, seed {number + 1} of {request.seeds}"
                filming = video if one is planned[0] and number == 0 else None
                stored.insert(0, self.evaluate(one.with_seed(number), title, filming))
            files = tuple(each.path.name for each in stored)
            points.insert(0, SeriesPoint.of([each.result for each in stored], files))
        first = stored[0].result
        self.film(planned[0], first, request.films)
        series = EvalSeries.of(
            self.run,
            planned[0].dataset,
            held_out=first.held_out,
            begun=begun,
            protocol=first.protocol,
            points=tuple(points),
        )
        return Evaluated(first, keep_result(self.home, self.run, "series", series), series)


def _simulated_task(run: Run) -> Task:
    """The task of a run, in whose simulator its actions can be taken.

    Raises:
        LewmError: it has no simulator, or that takes actions of another width.
    """
    inputs = run.card.inputs
    task = find_task(inputs.task)
    if task is None or task.make_simulator is None:
        raise LewmError(
            f"{run.name} was trained on a recording without a simulator ({inputs.task}), "
            "so it cannot be evaluated by planning"
        )
    width = dict(task.recognized_by).get("action", inputs.actions.dim)
    if width != inputs.actions.dim:
        raise LewmError(
            f"{run.name} plans with {inputs.actions.dim} action dimensions, and the simulator of {task.name} takes "
            f"{width}; it was not trained on a recording of {task.name}: `lewm show {run.name}` says on which"
        )
    return task
