"""Evaluate a run: find its test episodes, draw pairs, plan, and keep the result beside the run."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from lewm_cli.config import ReferencesConfig
from lewm_cli.control import Planner, find_objective
from lewm_cli.diagnose import (
    PlansBy,
    ReferenceDiagnostics,
    choose_episodes,
    film,
    find_references,
    planned_by,
    reference_planner,
)
from lewm_cli.errors import LewmError, StoppedError, signal_of
from lewm_cli.evaluate import (
    EvalResult,
    EvalSeries,
    Film,
    Journal,
    Journaled,
    References,
    SeriesPoint,
    evaluate,
    redraw,
    remarks,
)
from lewm_cli.flows.planned import EvalRequest, Planned, find_planned
from lewm_cli.flows.progress import Progress
from lewm_cli.flows.references import measure_references
from lewm_cli.flows.results import find_evaluation, keep_result, results_folder
from lewm_cli.model import resolve_device
from lewm_cli.simulate import SimulatorPool, simulator_pool
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
        LewmError: no such run or dataset, no simulator, too few test episodes, a manifest of other pairs, or a
            simulator that draws something else than was recorded or dies again and again.
        StoppedError: Ctrl-C or SIGTERM; the finished episodes are kept.
    """
    device = resolve_device(request.device)
    if device.type == "cpu":
        torch.set_num_threads(1)  # the planner brings its own threads
    run = load_run(home, request.run, device, foreign=request.foreign, say=say)
    task = simulated_task(run, "it cannot be evaluated by planning")
    references = None if request.references is None else find_references(task, request.references)
    planned = find_planned(home, run, task, request, say)
    find_objective(run, planned[0].protocol.planner)  # a head that is missing is said before anything is simulated
    farthest = max((one.protocol for one in planned), key=lambda protocol: protocol.offset)
    for remark in remarks(task, farthest, run.card.inputs.frameskip):
        say(f"unusual: {remark}")
    # Where there are references, one pair alone keeps all of them busy.
    workers = request.workers if references else min(request.workers, max(len(one.pairs) for one in planned))
    with simulator_pool(task, workers, say) as pool, ExitStack() as opened:
        work = _Evaluation(home, run, task, request, references, pool, opened, say, progress)
        if request.seeds == 1 and len(planned) == 1:
            return work.single(planned[0], video)
        return work.series(planned, video)


@dataclass(frozen=True)
class _Evaluation:
    """Of one run in its simulator.

    Args:
        references: how much they try; None for no references.
        opened: closes the journals in the end.
        journals: of every evaluation so far; they are needed until all of them are stored.
    """

    home: Home
    run: Run
    task: Task
    request: EvalRequest
    references: ReferencesConfig | None
    pool: SimulatorPool
    opened: ExitStack
    say: Callable[[str], None]
    progress: Progress
    journals: list[Journal] = field(default_factory=list)

    def single(self, planned: Planned, video: Callable[[Film], None] | None) -> Evaluated:
        """Measure, store and film."""
        with resumable(self.journals, self._episodes(planned)):
            stored = self._evaluate(planned, "evaluating", video)
        self._remove_journals()
        self._film(planned, stored.result)
        return stored

    def series(self, planned: list[Planned], video: Callable[[Film], None] | None) -> Evaluated:
        """Every offset under every seed, stored one by one and together.

        The first of them is measured last, for pages and tables show the newest result.
        """
        begun, points, seeds = time.monotonic(), list[SeriesPoint](), self.request.seeds
        with resumable(self.journals, seeds * sum(map(self._episodes, planned))):
            for one in reversed(planned):
                stored = list[Evaluated]()
                for number in reversed(range(seeds)):
                    title = f"offset {one.protocol.offset}, seed {number + 1} of {seeds}"
                    filming = video if one is planned[0] and number == 0 else None
                    stored.insert(0, self._evaluate(one.with_seed(number), title, filming))
                files = tuple(each.path.name for each in stored)
                points.insert(0, SeriesPoint.of([each.result for each in stored], files))
            first = stored[0].result
            series = EvalSeries.of(
                self.run,
                planned[0].dataset,
                held_out=first.held_out,
                begun=begun,
                protocol=first.protocol,
                points=tuple(points),
            )
            path = keep_result(self.home, self.run, "series", series)
        self._remove_journals()
        self._film(planned[0], first)
        return Evaluated(first, path, series)

    def _evaluate(self, planned: Planned, title: str, video: Callable[[Film], None] | None) -> Evaluated:
        """Measure and store; what an interrupted series has stored already is taken from there."""
        protocol = planned.protocol
        about = Journaled.of(self.run, planned.dataset, planned.pairs, protocol)
        journal = self._open_journal(about, self.say)
        if journal.finished == len(planned.pairs):
            done = find_evaluation(self.home, self.run, planned.dataset, protocol, journal.episodes)
            if done and self._has_references(done[0]):
                if self.references:
                    self._open_journals_of(self._diagnostics(planned, done[0]), planned)
                return Evaluated(*done)
        redrawn = redraw(self.pool, self.task, planned.dataset, planned.pairs, self.say)
        with self.progress(title, len(planned.pairs) * protocol.budget, "steps") as advance:
            result = evaluate(
                self.run,
                self.task,
                planned.dataset,
                planned.pairs,
                protocol,
                Planner(self.run, protocol.planner),
                held_out=planned.held_out,
                advance=advance,
                film=video,
                simulators=self.pool,
                journal=journal,
                redrawn=redrawn,
            )
        references = self._measure_references(planned, result, title) if self.references else None
        result = result.model_copy(update={"manifest": planned.origin, "references": references})
        return Evaluated(result, keep_result(self.home, self.run, "eval", result))

    def _has_references(self, result: EvalResult) -> bool:
        """Whether a result has the references that are asked for."""
        if self.references is None:
            return True
        planner = reference_planner(result.protocol.planner, self.references)
        return result.references is not None and result.references.planner == planner

    def _measure_references(self, planned: Planned, result: EvalResult, title: str) -> References:
        diagnostics = self._diagnostics(planned, result)
        return measure_references(diagnostics, title, self.progress, self._open_journals_of(diagnostics, planned))

    def _diagnostics(self, planned: Planned, result: EvalResult) -> ReferenceDiagnostics:
        return ReferenceDiagnostics(self.run, planned.pairs, result, self.references, self.pool)

    def _open_journals_of(self, diagnostics: ReferenceDiagnostics, planned: Planned) -> dict[PlansBy, Journal]:
        """Those of the references that plan; of stored ones, too, for they are removed with the others in the end."""

        def opened(by: PlansBy) -> Journal:
            about = Journaled.of(self.run, planned.dataset, planned.pairs, diagnostics.protocol, by)
            return self._open_journal(about, lambda message: self.say(f"{by}: {message}"))

        return {by: opened(by) for by in diagnostics.planned_by}

    def _open_journal(self, about: Journaled, say: Callable[[str], None]) -> Journal:
        folder = results_folder(self.home, self.run)
        journal = self.opened.enter_context(Journal.opened(folder, about, resume=self.request.resume, say=say))
        self.journals.append(journal)
        return journal

    def _episodes(self, planned: Planned) -> int:
        """How many are kept one by one, those of references included."""
        also = planned_by(planned.protocol.planner, self.references) if self.references else ()
        return len(planned.pairs) * (1 + len(also))

    def _film(self, planned: Planned, result: EvalResult) -> None:
        """Film some pairs of a result, and store that."""
        chosen = choose_episodes(result, self.request.films)
        if chosen:
            with self.progress("filming", len(chosen) * result.protocol.budget, "steps") as advance:
                filmed = film(self.run, self.task, planned.dataset, result, chosen, advance, self.pool)
            keep_result(self.home, self.run, "films", filmed)

    def _remove_journals(self) -> None:
        for journal in self.journals:
            journal.remove()


@contextmanager
def resumable(journals: list[Journal], pairs: int) -> Iterator[None]:
    """Say how to go on when this is interrupted.

    Args:
        journals: of the evaluations that have begun by then.
        pairs: of all evaluations together.

    Raises:
        StoppedError: Ctrl-C or SIGTERM.
    """
    try:
        yield
    except (KeyboardInterrupt, StoppedError) as stopped:
        finished = sum(journal.finished for journal in journals)
        if not finished:
            raise StoppedError(
                "stopped before an episode was finished; nothing was left behind", signal_of(stopped)
            ) from stopped
        raise StoppedError(
            f"stopped; {finished} of {pairs} episodes are kept, and the same command with --resume goes on",
            signal_of(stopped),
        ) from stopped


def simulated_task(run: Run, otherwise: str) -> Task:
    """The task of a run, in whose simulator its actions can be taken.

    Args:
        run: what is to be driven.
        otherwise: what follows where there is no simulator, for the error.

    Raises:
        LewmError: it has no simulator, or that takes actions of another width.
    """
    inputs = run.card.inputs
    task = find_task(inputs.task)
    if task is None or task.make_simulator is None:
        raise LewmError(f"{run.name} was trained on a recording without a simulator ({inputs.task}), so {otherwise}")
    width = dict(task.recognized_by).get("action", inputs.actions.dim)
    if width != inputs.actions.dim:
        raise LewmError(
            f"{run.name} plans with {inputs.actions.dim} action dimensions, and the simulator of {task.name} takes "
            f"{width}; it was not trained on a recording of {task.name}: `lewm show {run.name}` says on which"
        )
    return task
