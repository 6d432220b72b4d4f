"""Measure a violation of expectation: simulate unseen episodes again, changed in the middle, and keep the result."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lewm_cli.data import Dataset, DecodedFrames, Frames, holds_frames
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.flows import Progress
from lewm_cli.flows.beside import load_beside
from lewm_cli.flows.surprise import keep_plotted, load_fitting, try_plotting
from lewm_cli.flows.unseen import find_unseen
from lewm_cli.model import resolve_device
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, Run, Say
from lewm_cli.suggestion import offer
from lewm_cli.surprise import (
    DoseResult,
    PerturbationResult,
    correct,
    draw_episodes,
    measure_doses,
    measure_perturbation,
)
from lewm_cli.tasks import GENERIC, Task, find_task

PERTURBED_EPISODES = 32
"""Episodes simulated twice unless another number is asked for."""

CALIBRATING_EPISODES = 200
"""The most episodes that thresholds are computed from."""

FALSE_ALARMS = 0.01
"""The share of the model steps of an untouched episode that may lie above a threshold."""


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
    stage = _open(home, dataset, say, actions, run, device, plot, external, beside)
    loaded, task = stage.run, stage.task
    known = {one.name: one for one in task.perturbations}
    names = list(known) if perturbations == "all" else list(dict.fromkeys(perturbations.split(",")))
    if unknown := [name for name in names if name not in known]:
        raise LewmError(f"{task.name} has no perturbation {unknown[0]!r}; {offer(unknown[0], known, '')}, or all")
    if plot and len(names) > 1:
        raise UsageError(f"--plot names one file, and {len(names)} perturbations are drawn; leave it out")
    wanted, staged = episodes or PERTURBED_EPISODES, [known[name] for name in names]
    seen = max(one.lasts for one in staged) + horizon - 1
    drawn = stage.draw(wanted, seed, seen)
    if len(drawn) < wanted:
        every = len(stage.episodes)
        usable = f"only {len(drawn)} of the {every} episodes can be simulated"
        say(f"{usable}: long enough, and with every action recorded" if every >= wanted else usable)
    measure = partial(
        measure_perturbation, loaded, task, stage.recording, stage.frames, drawn, held_out=stage.held_out, seed=seed
    )
    results = []
    for one in staged:
        with progress(f"simulating {one.name}", len(drawn), "episodes") as advance:
            results.append(measure(one, advance=advance, horizon=horizon, beside=stage.beside))
    corrected = correct(results)
    show(corrected)
    return [(one, *keep_plotted(home, loaded, f"perturb-{one.perturbation}", one, plot)) for one in corrected]


def dose_run(
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
    show: Callable[[DoseResult], None] = lambda result: None,
) -> tuple[DoseResult, Path, Path]:
    """Measures how small a change is still found, and stores the result under `<run>.run/results/`.

    Episodes that are not changed calibrate thresholds of 1 % false alarms, or of as few as they can promise. Arguments,
    returned values and errors are those of `perturb_run`, for a single perturbation whose size can be chosen.
    """
    stage = _open(home, dataset, say, actions, run, device, plot, external, beside)
    dosed = {one.name: one for one in stage.task.perturbations if one.arena}
    if perturbations not in dosed:
        there = f"there is {', '.join(dosed)}" if dosed else "there is none"
        raise LewmError(f"{stage.task.name} has no perturbation {perturbations!r} whose size can be chosen; {there}")
    usable = stage.draw(len(stage.episodes), seed, horizon)
    mixed = np.random.default_rng(seed).permutation(usable)
    tried = min(episodes or PERTURBED_EPISODES, len(usable) // 2)
    drawn, others = np.sort(mixed[:tried]), np.sort(mixed[tried:][:CALIBRATING_EPISODES])
    false_alarms = max(FALSE_ALARMS, 1 / (len(others) + 1))
    if false_alarms > FALSE_ALARMS:
        say(f"thresholds: {false_alarms:.1%} false alarms, the fewest that {len(others)} other episodes can promise")
    with progress(f"simulating {perturbations}", len(usable[: tried + len(others)]), "episodes") as advance:
        result = measure_doses(
            stage.run,
            stage.task,
            stage.recording,
            stage.frames,
            drawn,
            others,
            dosed[perturbations],
            false_alarms=false_alarms,
            held_out=stage.held_out,
            seed=seed,
            advance=advance,
            horizon=horizon,
            beside=stage.beside,
        )
    show(result)
    return result, *keep_plotted(home, stage.run, "doses", result, plot)


@dataclass(frozen=True)
class _Stage:
    """A run with a simulator, the episodes (E,) of a recording that it may be measured on, and a run beside it."""

    run: Run
    task: Task
    recording: Dataset
    frames: Frames
    episodes: np.ndarray
    held_out: bool
    beside: Run | None

    def draw(self, count: int, seed: int, seen: int) -> np.ndarray:
        """Draw episodes, given the model steps in which the longest violation is seen."""
        # The longer memory decides what is seen of it.
        longer = max(0, self.beside.model.history - self.run.model.history) if self.beside else 0
        return draw_episodes(self.run, self.recording, self.episodes, count=count, seed=seed, lasts=seen + longer)


def _open(
    home: Home,
    dataset: str,
    say: Say,
    actions: Path | None,
    run: str | None,
    device: str,
    plot: Path | None,
    external: ExternalWeights,
    beside: str | None,
) -> _Stage:
    """Open what is simulated; arguments and errors are those of `perturb_run`."""
    there = resolve_device(device)
    if actions is not None or (holds_frames(Path(dataset)) and not home.dataset_file(dataset)):
        raise UsageError("--perturb simulates recorded states again, and a video has none; leave it out")
    recording = home.find_dataset(dataset)
    loaded = load_fitting(home, recording, run, there, external, say)
    task = find_task(loaded.card.inputs.task) or GENERIC
    try_plotting(home, loaded, plot)
    if not task.perturbations:
        raise LewmError(
            f"{loaded.name} was trained on {loaded.card.inputs.task}, which has no simulator to perturb; "
            "leave out --perturb to measure the recording as it is"
        )
    other = load_beside(home, beside, loaded, recording, say) if beside else None
    allowed = find_unseen(home, loaded, task, dataset, say)
    frames = DecodedFrames(recording, loaded.card.model.image_size)
    return _Stage(loaded, task, recording, frames, allowed.episodes, allowed.held_out, other)
