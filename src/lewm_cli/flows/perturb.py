"""Measure a violation of expectation: simulate unseen episodes again, changed in the middle, and keep the result."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from lewm_cli.data import DecodedFrames, holds_frames
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.flows import Progress
from lewm_cli.flows.beside import load_beside
from lewm_cli.flows.surprise import keep_plotted, load_fitting, try_plotting
from lewm_cli.flows.unseen import find_unseen
from lewm_cli.model import resolve_device
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, Say
from lewm_cli.suggestion import offer
from lewm_cli.surprise import PerturbationResult, correct, draw_episodes, measure_perturbation
from lewm_cli.tasks import GENERIC, find_task

PERTURBED_EPISODES = 32
"""Episodes simulated twice unless another number is asked for."""


def perturb_run(
    home: Home,
    dataset: str,
    perturbations: str,
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
    horizon: int = 1,
    beside: str | None = None,
    show: Callable[[tuple[PerturbationResult, ...]], None] = lambda results: None,
) -> list[tuple[PerturbationResult, Path, Path]]:
    """Measures surprise at what no action explains, and stores each result under `<run>.run/results/`.

    Args:
        dataset: a recording, by name or path.
        perturbations: names of some that the simulator of the run's task can stage, separated by commas, or `all`.
        actions: refused; a recording has its own.
        run: run name; the newest run that fits the recording if not given.
        episodes: at most so many; 32 if not given.
        plot: the SVG file to draw a single result into; beside the result if not given.
        horizon: model steps to look ahead.
        beside: another run, as one more detector.
        show: is given all results before they are stored.

    Returns:
        of each perturbation the result, its file, and the file of its plot.

    Raises:
        UsageError: the plot is no SVG file, or one for several results; a video, or actions.
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
    names = list(known) if perturbations == "all" else list(dict.fromkeys(perturbations.split(",")))
    if unknown := [name for name in names if name not in known]:
        raise LewmError(f"{task.name} has no perturbation {unknown[0]!r}; {offer(unknown[0], known, '')}, or all")
    if plot and len(names) > 1:
        raise UsageError(f"--plot names one file, and {len(names)} perturbations are drawn; leave it out")
    other = load_beside(home, beside, loaded, recording, say) if beside else None
    wanted = episodes or PERTURBED_EPISODES
    allowed = find_unseen(home, loaded, task, dataset, say)
    frames = DecodedFrames(recording, loaded.card.model.image_size)
    staged = [known[name] for name in names]
    longer = max(0, other.model.history - loaded.model.history) if other else 0
    seen = max(one.lasts for one in staged) + horizon - 1 + longer
    drawn = draw_episodes(loaded, recording, allowed.episodes, count=wanted, seed=seed, lasts=seen)
    if len(drawn) < wanted:
        usable = f"only {len(drawn)} of the {len(allowed.episodes)} episodes can be simulated"
        enough = len(allowed.episodes) >= wanted
        say(f"{usable}: long enough, and with every action recorded" if enough else usable)
    measure = partial(
        measure_perturbation, loaded, task, recording, frames, drawn, held_out=allowed.held_out, seed=seed
    )
    results = []
    for one in staged:
        with progress(f"simulating {one.name}", len(drawn), "episodes") as advance:
            results.append(measure(one, advance=advance, horizon=horizon, beside=other))
    corrected = correct(results)
    show(corrected)
    return [(one, *keep_plotted(home, loaded, f"perturb-{one.perturbation}", one, plot)) for one in corrected]
