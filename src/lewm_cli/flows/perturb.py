"""Measure a violation of expectation: simulate unseen episodes again, changed in the middle, and keep the result."""

from collections.abc import Callable
from pathlib import Path

from lewm_cli.data import DecodedFrames, holds_frames
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.flows import Progress
from lewm_cli.flows.surprise import keep_plotted, load_fitting, try_plotting
from lewm_cli.flows.unseen import find_unseen
from lewm_cli.model import resolve_device
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, Say
from lewm_cli.suggestion import offer
from lewm_cli.surprise import PerturbationResult, draw_episodes, measure_perturbation
from lewm_cli.tasks import GENERIC, find_task

PERTURBED_EPISODES = 32
"""Episodes simulated twice unless another number is asked for."""


def perturb_run(
    home: Home,
    dataset: str,
    perturbation: str,
    say: Say,
    progress: Progress,
    *,
    actions: Path | None = None,
    run: str | None = None,
    episodes: int | None = None,
    seed: int = 0,
    device: str = "auto",
    plot: Path | None = None,
    external: ExternalWeights = NO_OPTIONS,
    show: Callable[[PerturbationResult], None] = lambda result: None,
) -> tuple[PerturbationResult, Path, Path]:
    """Measures surprise at a change that no action explains, and stores the result under `<run>.run/results/`.

    Args:
        dataset: a recording, by name or path.
        perturbation: name of one that the simulator of the run's task can stage.
        actions: refused; a recording has its own.
        run: run name; the newest run that fits the recording if not given.
        episodes: at most so many; 32 if not given.
        plot: the SVG file to draw; beside the result if not given.

    Returns:
        the result, its file, and the file of its plot.

    Raises:
        UsageError: the plot is no SVG file; a video, or actions.
        LewmError: no such recording, run or perturbation, one that does not fit the other, or episodes that are too
            short.
    """
    there = resolve_device(device)
    if actions is not None or (holds_frames(Path(dataset)) and not home.dataset_file(dataset)):
        raise UsageError("--perturb simulates recorded states again, and a video has none; leave it out")
    recording = home.find_dataset(dataset)
    loaded = load_fitting(home, recording, run, there, external, say)
    task = find_task(loaded.card.inputs.task) or GENERIC
    try_plotting(home, loaded, plot)
    known = {one.name: one for one in task.perturbations}
    if not known:
        raise LewmError(
            f"{loaded.name} was trained on {loaded.card.inputs.task}, which has no simulator to perturb; "
            "leave out --perturb to measure the recording as it is"
        )
    if perturbation not in known:
        raise LewmError(f"{task.name} has no perturbation {perturbation!r}; {offer(perturbation, known, '')}")
    wanted = episodes or PERTURBED_EPISODES
    allowed = find_unseen(home, loaded, task, dataset, say)
    frames = DecodedFrames(recording, loaded.card.model.image_size)
    staged, held_out = known[perturbation], allowed.held_out
    drawn = draw_episodes(loaded, recording, allowed.episodes, count=wanted, seed=seed, lasts=staged.lasts)
    if len(drawn) < wanted:
        usable = f"only {len(drawn)} of the {len(allowed.episodes)} episodes can be simulated"
        enough = len(allowed.episodes) >= wanted
        say(f"{usable}: long enough, and with every action recorded" if enough else usable)
    with progress(f"simulating {perturbation}", len(drawn), "episodes") as advance:
        result = measure_perturbation(
            loaded, task, recording, frames, drawn, staged, held_out=held_out, seed=seed, advance=advance
        )
    show(result)
    return result, *keep_plotted(home, loaded, f"perturb-{perturbation}", result, plot)
