"""Evaluate a run: find its test episodes, draw pairs, plan, and keep the result beside the run."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from lewm_cli.config import EvalProtocol, Layer, merge_layers
from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError
from lewm_cli.evaluate import EvalResult, Film, draw_pairs, evaluate
from lewm_cli.files import write_text
from lewm_cli.flows.progress import Progress
from lewm_cli.model import resolve_device
from lewm_cli.plan import CEM
from lewm_cli.store import Home, Run, RunFiles, load_run
from lewm_cli.tasks import find_task


@dataclass(frozen=True)
class EvalRequest:
    """What to evaluate.

    Args:
        run: run name.
        dataset: where starts and goals come from; the episodes that the run held out if not given.
        settings: laid over the task's protocol.
        device: auto, cpu, cuda or mps.
    """

    run: str
    dataset: str | None = None
    settings: tuple[Layer, ...] = ()
    device: str = "auto"


@dataclass(frozen=True)
class Evaluated:
    """A result and where it was stored."""

    result: EvalResult
    path: Path


def evaluate_run(
    home: Home,
    request: EvalRequest,
    say: Callable[[str], None],
    progress: Progress,
    film: Callable[[Film], None] | None = None,
) -> Evaluated:
    """Evaluate by planning in the simulator, and store the result under `<run>.run/results/`.

    Args:
        home: where the run and the recording lie.
        request: what to evaluate.
        say: told what was chosen on the user's behalf.
        progress: shows the environment steps done.
        film: takes what the camera saw, pair by pair.

    Raises:
        UsageError: a protocol that cannot mean anything.
        LewmError: no such run or dataset, no simulator, or too few test episodes.
    """
    device = resolve_device(request.device)
    if device.type == "cpu":
        torch.set_num_threads(1)  # the planner brings its own threads
    run = load_run(home, request.run, device)
    task = find_task(run.card.inputs.task)
    if task is None or task.make_simulator is None:
        raise LewmError(
            f"{run.name} was trained on a recording without a simulator ({run.card.inputs.task}), "
            "so it cannot be evaluated by planning"
        )
    say(f"run: {run.name} ({run.tensors}/{run.tensors} tensors from {run.files.weights})")
    merged = merge_layers([Layer(f"the protocol of {task.name}", task.settings["protocol"]), *request.settings])
    protocol = EvalProtocol.build(merged.tree, merged.source)
    dataset, episodes = _test_episodes(home, run, request.dataset, say)
    pairs = draw_pairs(dataset, task, episodes, offset=protocol.offset, count=protocol.pairs, seed=protocol.seed)
    with progress("evaluating", protocol.pairs * protocol.budget, "steps") as advance:
        result = evaluate(
            run,
            task,
            dataset,
            pairs,
            protocol,
            CEM(protocol.planner),
            held_out=_never_trained_on(run, dataset, episodes),
            advance=advance,
            film=film,
        )
    path = _results_folder(home, run) / f"eval-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    write_text(path, result.model_dump_json(indent=1, by_alias=True))
    return Evaluated(result, path)


def _test_episodes(home: Home, run: Run, name: str | None, say: Callable[[str], None]) -> tuple[Dataset, np.ndarray]:
    trained_on = run.card.provenance.dataset
    dataset = home.find_dataset(name or trained_on.name)
    if dataset.identity.fingerprint != trained_on.fingerprint:
        if name is None:
            raise LewmError(
                f"{dataset.path} is no longer the recording that {run.name} was trained on, so which of its episodes "
                "are unseen is unknown; name a test recording with --dataset"
            )
        say(f"pairs: all {dataset.episodes} episodes of {dataset.name}, which the run was not trained on")
        return dataset, np.arange(dataset.episodes)
    held_out = np.array(run.card.provenance.held_out, np.int64)
    if len(held_out) == 0:
        say(f"pairs: episodes of {dataset.name} that the run was trained on (it held out clips, not episodes)")
        return dataset, np.arange(dataset.episodes)
    say(f"pairs: the {len(held_out)} episodes of {dataset.name} that the run held out")
    return dataset, held_out


def _never_trained_on(run: Run, dataset: Dataset, episodes: np.ndarray) -> bool:
    other = dataset.identity.fingerprint != run.card.provenance.dataset.fingerprint
    return other or set(episodes.tolist()) <= set(run.card.provenance.held_out)


def _results_folder(home: Home, run: Run) -> Path:
    # A run on read-only shared storage keeps its results in the home that takes the writes.
    writable = os.access(run.files.stem.parent, os.W_OK)
    return (run.files if writable else RunFiles(home.new_run_stem(run.name))).results
