"""Measure surprise: choose the run, measure recorded or perturbed episodes, keep the result beside the run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lewm_cli.data import Dataset, open_frames
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.files import write_text
from lewm_cli.flows.progress import Progress
from lewm_cli.flows.results import keep_result
from lewm_cli.flows.unseen import find_unseen, is_unseen, refuse_unfit
from lewm_cli.model import resolve_device
from lewm_cli.store import (
    NOTHING_SAID,
    Foreign,
    Home,
    Run,
    RunEntry,
    dataset_task,
    list_runs,
    load_run,
    named_task,
    names_release,
    weights_digest,
)
from lewm_cli.surprise import PerturbationResult, SurpriseResult, draw_episodes, measure_perturbation, measure_surprise
from lewm_cli.tasks import GENERIC, Perturbation, Task, find_task

PERTURBED_EPISODES = 32
"""How many are simulated twice unless another number is asked for."""


@dataclass(frozen=True)
class SurpriseRequest:
    """What to measure.

    Args:
        dataset: recording, by name or path.
        run: run name; the newest run that fits the recording if not given.
        perturb: name of a perturbation; None measures the recording as it is.
        episodes: at most so many; all of a recording, or 32 perturbed ones, if not given.
        seed: of the perturbations and the untrained model.
        device: auto, cpu, cuda or mps.
        plot: the SVG file to draw; beside the result if not given.
        foreign: how weights of another tool are read.
    """

    dataset: str
    run: str | None = None
    perturb: str | None = None
    episodes: int | None = None
    seed: int = 0
    device: str = "auto"
    plot: Path | None = None
    foreign: Foreign = NOTHING_SAID


@dataclass(frozen=True)
class Surprised:
    """A result, where it was stored, and where it was drawn."""

    result: SurpriseResult | PerturbationResult
    path: Path
    plot: Path


def measure(home: Home, request: SurpriseRequest, say: Callable[[str], None], progress: Progress) -> Surprised:
    """Measure surprise, and store the result under `<run>.run/results/`.

    Args:
        home: where run and recording lie.
        request: what to measure.
        say: told what was chosen on the user's behalf.
        progress: shows the episodes done.

    Raises:
        UsageError: the plot is no SVG file.
        LewmError: no such recording or run, one that does not fit the other, or episodes that are too short.
    """
    if request.plot and request.plot.suffix != ".svg":
        raise UsageError(f"{str(request.plot)!r} does not end in .svg, and that is what plots are drawn as")
    device = resolve_device(request.device)
    dataset = home.find_dataset(request.dataset)
    name = request.run or _choose_run(home, dataset, say)
    run = load_run(home, name, device, foreign=request.foreign, say=say)
    run.use_threads()
    task = find_task(run.card.inputs.task) or GENERIC
    refuse_unfit(run, task, dataset)
    if request.perturb is None:
        kind, result = "surprise", _recorded(home, run, dataset, request, say, progress)
    else:
        perturbation = _find_perturbation(task, run, request.perturb)
        kind = f"perturb-{perturbation.name}"
        result = _perturbed(home, run, task, perturbation, request, say, progress)
    path = keep_result(home, run, kind, result)
    from lewm_cli.report.plot import surprise_svg  # late: matplotlib

    plot = request.plot or path.with_suffix(".svg")
    write_text(plot, surprise_svg(result))
    return Surprised(result, path, plot)


def _recorded(
    home: Home, run: Run, dataset: Dataset, request: SurpriseRequest, say: Callable[[str], None], progress: Progress
) -> SurpriseResult:
    unseen = is_unseen(run, dataset)
    episodes = range(dataset.episodes)[: request.episodes]
    if not unseen[: len(episodes)].all():
        was = "was" if run.card.provenance else "may have been"
        say(f"note: {run.name} {was} trained on {np.sum(~unseen[: len(episodes)])} of these {len(episodes)} episodes")
    frames = open_frames(dataset, run.card.model.image_size, home.cache)
    with progress("measuring", len(episodes), "episodes") as advance:
        result = measure_surprise(
            run,
            dataset,
            frames,
            episodes,
            held_out=bool(unseen[: len(episodes)].all()),
            seed=request.seed,
            advance=advance,
        )
    if result.left_out:
        say(f"left out: {len(result.left_out)} episodes with fewer than {result.frameskip + 1} rows")
    return result


def _perturbed(
    home: Home,
    run: Run,
    task: Task,
    perturbation: Perturbation,
    request: SurpriseRequest,
    say: Callable[[str], None],
    progress: Progress,
) -> PerturbationResult:
    unseen = find_unseen(home, run, task, request.dataset, say)
    wanted = request.episodes or PERTURBED_EPISODES
    episodes = draw_episodes(run, unseen.dataset, unseen.episodes, count=wanted, seed=request.seed)
    if len(episodes) < wanted:
        usable = f"only {len(episodes)} of the {len(unseen.episodes)} episodes can be simulated"
        say(f"{usable}: long enough, and with every action recorded" if len(unseen.episodes) >= wanted else usable)
    frames = open_frames(unseen.dataset, run.card.model.image_size, home.cache)
    with progress(f"simulating {perturbation.name}", len(episodes), "episodes") as advance:
        return measure_perturbation(
            run,
            task,
            unseen.dataset,
            frames,
            episodes,
            perturbation,
            held_out=unseen.held_out,
            seed=request.seed,
            advance=advance,
        )


def _choose_run(home: Home, dataset: Dataset, say: Callable[[str], None]) -> str:
    """The newest run of the recording's task; of any task where the recording names none and nothing else fits.

    Runs of lewm come first, then those of other tools that can be fed, then the released weights.
    """
    task, width = dataset_task(dataset), dataset.actions.shape[1]
    runs = [run for run in list_runs(home) if run.problem is None]
    own = [run for run in runs if run.card]
    others = [run for run in runs if run.statistics and run.statistics.weights_sha256 == weights_digest(run.path)]
    for candidates, whose in ((own, ""), (others, " that another tool made")):
        same_width = [run for run in candidates if run.inputs.actions.dim == width]
        fitting = [run for run in same_width if run.inputs.task == task.name]
        chosen = fitting or (same_width if task is GENERIC else [])
        if chosen:
            newest = max(chosen, key=lambda run: run.modified)
            which = f"the newest run of {task.name}" if fitting else f"the newest run with {width} action dimensions"
            say(f"run: {newest.name}, {which}{whose} (--run chooses another)")
            return newest.name
    if task.released_dataset and home.dataset_is_taken(task.released_dataset):  # its statistics can be computed
        for run in runs:
            if names_release(run.name) and named_task(run.name) is task:
                say(f"run: {run.name}, the released weights of {task.name} (--run chooses another)")
                return run.name
    raise LewmError(
        f"no run fits {dataset.name} ({task.name}, {width} action dimensions); {_there_is([*own, *others])}; "
        f"train one: lewm train {task.name if task.make_simulator else dataset.name}"
    )


def _there_is(runs: list[RunEntry]) -> str:
    if not runs:
        return "there is no run yet"
    listed = [f"{run.name} ({run.inputs.task}, {run.inputs.actions.dim})" for run in runs]
    return f"there is {', '.join(listed[:8])}" + (", and more: `lewm ls`" if len(listed) > 8 else "")


def _find_perturbation(task: Task, run: Run, name: str) -> Perturbation:
    if not task.perturbations:
        raise LewmError(
            f"{run.name} was trained on {run.card.inputs.task}, which has no simulator to perturb; "
            "leave out --perturb to measure the recording as it is"
        )
    for perturbation in task.perturbations:
        if perturbation.name == name:
            return perturbation
    known = ", ".join(perturbation.name for perturbation in task.perturbations)
    raise LewmError(f"{task.name} has no perturbation {name!r}; there is {known}")
