"""Evaluate a run: find its test episodes, draw pairs, plan, and keep the result beside the run."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from lewm_cli.config import EvalProtocol, Layer, merge_layers
from lewm_cli.errors import LewmError, StoppedError
from lewm_cli.evaluate import (
    EvalResult,
    Film,
    Journal,
    Journaled,
    choose_episodes,
    draw_pairs,
    evaluate,
    film,
    redraw,
    simulators,
)
from lewm_cli.flows.progress import Progress
from lewm_cli.flows.results import keep_result, results_folder
from lewm_cli.flows.unseen import find_unseen
from lewm_cli.model import resolve_device
from lewm_cli.plan import CEM
from lewm_cli.store import NOTHING_SAID, Foreign, Home, load_run
from lewm_cli.tasks import Task, find_task
from lewm_cli.workers import available_cores


@dataclass(frozen=True)
class EvalRequest:
    """What to evaluate.

    Args:
        run: run name.
        dataset: where starts and goals come from; the episodes that the run held out if not given.
        settings: laid over the task's protocol.
        device: auto, cpu, cuda or mps.
        films: pairs kept as filmstrips for the page, candidates of the planner included.
        foreign: how weights of another tool are read.
        workers: processes that simulate, 1 for none but this one; does not change the result.
        resume: go on from the episodes that an interrupted evaluation of the same pairs has finished.
    """

    run: str
    dataset: str | None = None
    settings: tuple[Layer, ...] = ()
    device: str = "auto"
    films: int = 4
    foreign: Foreign = NOTHING_SAID
    workers: int = field(default_factory=available_cores)
    resume: bool = False


@dataclass(frozen=True)
class Evaluated:
    """A result and where it was stored; the films of it lie beside it."""

    result: EvalResult
    path: Path


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
        video: takes what the camera saw, pair by pair.

    Raises:
        UsageError: a protocol that cannot mean anything.
        LewmError: no such run or dataset, no simulator, too few test episodes, or a simulator that draws something
            else than was recorded or dies again and again.
        StoppedError: Ctrl-C or SIGTERM; the finished episodes are kept.
    """
    device = resolve_device(request.device)
    if device.type == "cpu":
        torch.set_num_threads(1)  # the planner brings its own threads
    run = load_run(home, request.run, device, foreign=request.foreign, say=say)
    task = find_task(run.card.inputs.task)
    if task is None or task.make_simulator is None:
        raise LewmError(
            f"{run.name} was trained on a recording without a simulator ({run.card.inputs.task}), "
            "so it cannot be evaluated by planning"
        )
    protocol = task_protocol(task, request.settings)
    unseen = find_unseen(home, run, task, request.dataset, say)
    pairs = draw_pairs(
        unseen.dataset, task, unseen.episodes, offset=protocol.offset, count=protocol.pairs, seed=protocol.seed
    )
    workers = min(request.workers, protocol.pairs)
    about = Journaled.of(run, unseen.dataset, pairs, protocol)
    with (
        simulators(task, workers, say) as simulated,
        Journal.opened(results_folder(home, run), about, resume=request.resume, say=say) as journal,
    ):
        with resumable(journal, protocol.pairs):
            redrawn = redraw(simulated, task, unseen.dataset, pairs, say)
            with progress("evaluating", protocol.pairs * protocol.budget, "steps") as advance:
                result = evaluate(
                    run,
                    task,
                    unseen.dataset,
                    pairs,
                    protocol,
                    CEM(protocol.planner),
                    held_out=unseen.held_out,
                    advance=advance,
                    film=video,
                    simulators=simulated,
                    journal=journal,
                    redrawn=redrawn,
                )
            path = keep_result(home, run, "eval", result)
        journal.remove()
        chosen = choose_episodes(result, request.films)
        if chosen:
            with progress("filming", len(chosen) * protocol.budget, "steps") as advance:
                filmed = film(run, task, unseen.dataset, result, chosen, advance, simulated)
                keep_result(home, run, "films", filmed)
    return Evaluated(result, path)


@contextmanager
def resumable(journal: Journal, pairs: int) -> Iterator[None]:
    """Say how to go on when this is interrupted.

    Raises:
        StoppedError: Ctrl-C or SIGTERM.
    """
    try:
        yield
    except (KeyboardInterrupt, StoppedError) as stopped:
        number = stopped.signal_number if isinstance(stopped, StoppedError) else signal.SIGINT
        if not journal.finished:
            raise StoppedError("stopped before an episode was finished; nothing was left behind", number) from stopped
        raise StoppedError(
            f"stopped; {journal.finished} of {pairs} episodes are kept, and the same command with --resume goes on",
            number,
        ) from stopped


def task_protocol(task: Task, settings: tuple[Layer, ...] = ()) -> EvalProtocol:
    """A task's protocol with settings laid over it.

    Raises:
        UsageError: it cannot mean anything.
    """
    merged = merge_layers([Layer(f"the protocol of {task.name}", task.protocol), *settings])
    return EvalProtocol.build(merged.tree, merged.source)
