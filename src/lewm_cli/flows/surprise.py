"""Measure surprise: choose the run, measure recorded or perturbed episodes, keep the result beside the run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lewm_cli.data import (
    Dataset,
    DecodedFrames,
    VideoDataset,
    holds_frames,
    open_video,
    read_actions,
    require_usable,
)
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.files import try_writing, write_text
from lewm_cli.flows import Progress
from lewm_cli.flows.results import keep_result, try_keeping
from lewm_cli.flows.unseen import find_unseen, is_unseen, refuse_unfit
from lewm_cli.model import resolve_device
from lewm_cli.store import (
    NO_OPTIONS,
    ExternalWeights,
    Home,
    Say,
    dataset_task,
    is_name,
    list_runs,
    load_run,
    named_task,
    names_release,
    newest_run,
    weights_digest,
)
from lewm_cli.suggestion import command, few, offer
from lewm_cli.surprise import PerturbationResult, SurpriseResult, draw_episodes, measure_perturbation, measure_surprise
from lewm_cli.tasks import GENERIC, find_task

PERTURBED_EPISODES = 32
"""Episodes simulated twice unless another number is asked for."""


def surprise_run(
    home: Home,
    dataset: str,
    say: Say,
    progress: Progress,
    *,
    actions: Path | None = None,
    run: str | None = None,
    perturb: str | None = None,
    episodes: int | None = None,
    seed: int = 0,
    device: str = "auto",
    plot: Path | None = None,
    external: ExternalWeights = NO_OPTIONS,
    show: Callable[[SurpriseResult | PerturbationResult], None] = lambda result: None,
) -> tuple[SurpriseResult | PerturbationResult, Path, Path]:
    """Measures surprise, and stores the result under `<run>.run/results/`.

    Args:
        dataset: a recording, by name or path; or a video, or a folder of images.
        actions: the table of the actions taken at the frames of a video.
        run: run name; the newest run that fits the recording if not given.
        perturb: name of a perturbation; None measures the recording as it is.
        episodes: at most so many; all of a recording, or 32 perturbed ones, if not given.
        plot: the SVG file to draw; beside the result if not given.

    Returns:
        the result, its file, and the file of its plot.

    Raises:
        UsageError: the plot is no SVG file; a video without its actions, or with a perturbation; or actions beside a
            recording, which has its own.
        LewmError: no such recording or run, one that does not fit the other, or episodes that are too short.
    """
    if plot and plot.suffix != ".svg":
        raise UsageError(f"{str(plot)!r} does not end in .svg, and that is what plots are drawn as")
    there, recording = resolve_device(device), _find_recording(home, dataset, actions, perturb, say)
    loaded = load_run(home, run or _choose_run(home, recording, say), there, external=external, say=say)
    loaded.require_world_model()
    loaded.use_threads()
    task = find_task(loaded.card.inputs.task) or GENERIC
    refuse_unfit(loaded, task, recording)
    try_keeping(home, loaded)
    if plot:
        try_writing(plot)
    result: SurpriseResult | PerturbationResult
    size = loaded.card.model.image_size
    if perturb is None:
        require_usable(recording, say)
        frames = DecodedFrames(recording, size)
        unseen = is_unseen(loaded, recording)[:episodes]
        if not unseen.all():
            was = "was" if loaded.card.provenance else "may have been"
            say(f"note: {loaded.name} {was} trained on {np.sum(~unseen)} of these {len(unseen)} episodes")
        with progress("measuring", len(unseen), "episodes") as advance:
            result = measure_surprise(
                loaded, recording, frames, range(len(unseen)), held_out=bool(unseen.all()), seed=seed, advance=advance
            )
        if result.left_out:
            say(f"left out: {len(result.left_out)} episodes with fewer than {result.frameskip + 1} rows")
    else:
        known = {perturbation.name: perturbation for perturbation in task.perturbations}
        if not known:
            raise LewmError(
                f"{loaded.name} was trained on {loaded.card.inputs.task}, which has no simulator to perturb; "
                "leave out --perturb to measure the recording as it is"
            )
        if perturb not in known:
            raise LewmError(f"{task.name} has no perturbation {perturb!r}; {offer(perturb, known, '')}")
        staged, wanted = known[perturb], episodes or PERTURBED_EPISODES
        allowed = find_unseen(home, loaded, task, dataset, say)
        frames = DecodedFrames(recording, size)
        drawn = draw_episodes(loaded, recording, allowed.episodes, count=wanted, seed=seed)
        if len(drawn) < wanted:
            usable = f"only {len(drawn)} of the {len(allowed.episodes)} episodes can be simulated"
            enough = len(allowed.episodes) >= wanted
            say(f"{usable}: long enough, and with every action recorded" if enough else usable)
        with progress(f"simulating {perturb}", len(drawn), "episodes") as advance:
            result = measure_perturbation(
                loaded, task, recording, frames, drawn, staged, held_out=allowed.held_out, seed=seed, advance=advance
            )
    show(result)
    path = keep_result(home, loaded, f"perturb-{perturb}" if perturb else "surprise", result)
    from lewm_cli.report.plain_svg import surprise_svg  # late: matplotlib

    drawn_to = plot or path.with_suffix(".svg")
    write_text(drawn_to, surprise_svg(result))
    return result, path, drawn_to


def _find_recording(home: Home, name: str, actions: Path | None, perturb: str | None, say: Say) -> Dataset:
    """Open a recording, or a video together with its actions; arguments and errors are those of `surprise_run`."""
    path = Path(name)
    named = actions is None and path.is_dir() and is_name(name) and home.dataset_file(name)
    if named or not holds_frames(path):
        recording = home.find_dataset(name, None if perturb else say)
        if actions is not None:
            raise UsageError(f"--actions is for videos, and {name} is a recording with its own; leave it out")
        return recording
    if actions is None:
        raise UsageError(
            f"{name} holds frames only, and surprise needs the actions taken at them: add --actions FILE, a CSV, npz "
            "or Parquet file with one row per frame"
        )
    if perturb is not None:
        raise UsageError("--perturb simulates recorded states again, and a video has none; leave it out")
    return open_video(path, read_actions(actions, say), say)


def _choose_run(home: Home, dataset: Dataset, say: Say) -> str:
    """Chooses the newest run of the recording's task; of any task where the recording names none and nothing else fits.

    Runs of lewm come first, then those of other tools that can be fed, then the released weights; never a policy.
    """
    task, width = dataset_task(dataset), dataset.actions.shape[1]
    runs = [run for run in list_runs(home) if run.problem is None and run.imagines]
    own = [(run, run.card.inputs) for run in runs if run.card]
    measured = [(run, run.statistics) for run in runs if run.statistics]
    others = [(run, known.inputs) for run, known in measured if known.weights_sha256 == weights_digest(run.path)]
    for candidates, whose in ((own, ""), (others, " that another tool made")):
        same_width = [(run, inputs) for run, inputs in candidates if inputs.actions.dim == width]
        fitting = [run for run, inputs in same_width if inputs.task == task.name]
        chosen = fitting or ([run for run, _ in same_width] if task is GENERIC else [])
        if chosen:
            newest = newest_run(chosen, say)
            which = f"the newest run of {task.name}" if fitting else f"the newest run with {width} action dimensions"
            say(f"run: {newest.name}, {which}{whose} (--run chooses another)")
            return newest.name
    if task.released_dataset and home.dataset_file(task.released_dataset):  # its statistics can be computed
        for run in runs:
            if names_release(run.name) and named_task(run.name) is task:
                say(f"run: {run.name}, the released weights of {task.name} (--run chooses another)")
                return run.name
    trained_on = "RECORDING" if isinstance(dataset, VideoDataset) else dataset.name
    listed = [f"{run.name} ({inputs.task}, {inputs.actions.dim})" for run, inputs in (*own, *others)]
    there = few(listed, command("ls"))
    raise LewmError(
        f"no run fits {dataset.name} ({task.name}, {width} action dimensions); there is {there or 'no run yet'}; "
        f"train one: {command('train', task.name if task.make_simulator else trained_on)}"
    )
