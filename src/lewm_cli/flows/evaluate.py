"""Evaluate a run: find its test episodes, draw pairs, plan, and keep the result beside the run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from lewm_cli.config import EvalProtocol, Layer, merge_layers
from lewm_cli.errors import LewmError
from lewm_cli.evaluate import EvalResult, Film, choose_episodes, draw_pairs, evaluate, film
from lewm_cli.flows.progress import Progress
from lewm_cli.flows.results import keep_result
from lewm_cli.flows.unseen import find_unseen
from lewm_cli.model import resolve_device
from lewm_cli.plan import CEM
from lewm_cli.store import NOTHING_SAID, Foreign, Home, load_run
from lewm_cli.tasks import Task, find_task


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
    """

    run: str
    dataset: str | None = None
    settings: tuple[Layer, ...] = ()
    device: str = "auto"
    films: int = 4
    foreign: Foreign = NOTHING_SAID


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
        LewmError: no such run or dataset, no simulator, or too few test episodes.
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
        )
    path = keep_result(home, run, "eval", result)
    chosen = choose_episodes(result, request.films)
    if chosen:
        with progress("filming", len(chosen) * protocol.budget, "steps") as advance:
            keep_result(home, run, "films", film(run, task, unseen.dataset, result, chosen, advance))
    return Evaluated(result, path)


def task_protocol(task: Task, settings: tuple[Layer, ...] = ()) -> EvalProtocol:
    """A task's protocol with settings laid over it.

    Raises:
        UsageError: it cannot mean anything.
    """
    merged = merge_layers([Layer(f"the protocol of {task.name}", task.protocol), *settings])
    return EvalProtocol.build(merged.tree, merged.source)
