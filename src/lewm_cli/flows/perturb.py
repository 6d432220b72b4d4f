"""Measure a violation of expectation: simulate unseen episodes again, changed in the middle, and keep the result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lewm_cli.data import DecodedFrames, holds_frames
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.flows import Progress
from lewm_cli.flows.beside import load_beside
from lewm_cli.flows.surprise import keep_plotted, load_fitting, try_plotting
from lewm_cli.flows.unseen import find_unseen
from lewm_cli.model import resolve_device
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, Say
from lewm_cli.suggestion import offer
from lewm_cli.surprise import (
    DoseResult,
    PerturbationResult,
    Staging,
    correct,
    draw_episodes,
    measure_doses,
    measure_perturbation,
)
from lewm_cli.tasks import GENERIC, Perturbation, Task, find_task

PERTURBED_EPISODES = 32
"""Episodes simulated twice unless another number is asked for."""

CALIBRATING_EPISODES = 200
"""The most episodes that thresholds are computed from."""

FALSE_ALARMS = 0.01
"""The share of the model steps of an untouched episode that may lie above a threshold."""


Kept = tuple[PerturbationResult | DoseResult, Path, Path]
"""A result, its file, and the file of its plot."""


def perturb_run(
    home: Home,
    dataset: str,
    perturbations: str,
    say: Say,
    progress: Progress,
    *,
    doses: bool = False,
    actions: Path | None = None,
    run: str | None = None,
    episodes: int | None = None,
    seed: int = 0,
    device: str = "auto",
    plot: Path | None = None,
    external: ExternalWeights = NO_OPTIONS,
    horizon: int = 1,
    beside: str | None = None,
    show: Callable[..., None] = lambda *results: None,
) -> list[Kept]:
    """Measures surprise at what no action explains, and stores each result under `<run>.run/results/`.

    Args:
        dataset: a recording, by name or path.
        perturbations: names of some that the simulator of the run's task can stage, separated by commas, or `all`.
        doses: stage a single one in several sizes, and measure how small it is still found.
        actions: refused; a recording has its own.
        run: run name; the newest run that fits the recording if not given.
        episodes: at most so many are changed; 32 if not given.
        plot: the SVG file to draw a single result into; beside the result if not given.
        horizon: model steps to look ahead.
        beside: another run, as one more detector.
        show: is given all results before they are stored.

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
    if not task.perturbations:
        raise LewmError(
            f"{loaded.name} was trained on {loaded.card.inputs.task}, which has no simulator to perturb; "
            "leave out --perturb to measure the recording as it is"
        )
    staged = _find_perturbations(task, perturbations, doses=doses)
    if plot and len(staged) > 1:
        raise UsageError(f"--plot names one file, and {len(staged)} perturbations are drawn; leave it out")
    other = load_beside(home, beside, loaded, recording, say) if beside else None
    allowed = find_unseen(home, loaded, task, dataset, say)
    frames = DecodedFrames(recording, loaded.card.model.image_size)
    staging = Staging(loaded, task, recording, frames, allowed.held_out, seed, horizon, other)
    stage = _Stage(staging, allowed.episodes, say, progress)
    wanted = episodes or PERTURBED_EPISODES
    results: Sequence[PerturbationResult | DoseResult] = (
        [stage.measure_doses(staged[0], wanted)] if doses else stage.measure(staged, wanted)
    )
    show(*results)
    kinds = ["doses"] if doses else [f"perturb-{one.name}" for one in staged]
    return [(one, *keep_plotted(home, loaded, kind, one, plot)) for kind, one in zip(kinds, results, strict=True)]


def _find_perturbations(task: Task, names: str, *, doses: bool) -> list[Perturbation]:
    """Find those that were typed; raises LewmError if the task has not all of them, or their size is fixed."""
    known = {one.name: one for one in task.perturbations}
    if doses:
        known = {name: one for name, one in known.items() if one.arena}
        if names not in known:
            there = f"there is {', '.join(known)}" if known else "there is none"
            raise LewmError(f"{task.name} has no perturbation {names!r} whose size can be chosen; {there}")
    typed = list(known) if names == "all" else list(dict.fromkeys(names.split(",")))
    if unknown := [name for name in typed if name not in known]:
        raise LewmError(f"{task.name} has no perturbation {unknown[0]!r}; {offer(unknown[0], known, '')}, or all")
    return [known[name] for name in typed]


@dataclass(frozen=True)
class _Stage:
    """A staging, and the episodes (E,) of the recording that the run may be measured on."""

    staging: Staging
    episodes: np.ndarray
    say: Say
    progress: Progress

    def measure(self, perturbations: list[Perturbation], wanted: int) -> Sequence[PerturbationResult]:
        """Stage each in the same episodes, and correct p-values for all of them."""
        drawn = self._draw(wanted, max(one.lasts for one in perturbations))
        if len(drawn) < wanted:
            every = len(self.episodes)
            usable = f"only {len(drawn)} of the {every} episodes can be simulated"
            self.say(f"{usable}: long enough, and with every action recorded" if every >= wanted else usable)
        results = []
        for one in perturbations:
            with self.progress(f"simulating {one.name}", len(drawn), "episodes") as advance:
                results.append(measure_perturbation(self.staging, drawn, one, advance))
        return correct(results)

    def measure_doses(self, perturbation: Perturbation, wanted: int) -> DoseResult:
        """Stage one in several sizes; other episodes calibrate thresholds of 1 % false alarms, or of as few as can be.

        Half of the episodes calibrate where there are few.
        """
        usable = self._draw(len(self.episodes), perturbation.lasts)
        mixed = np.random.default_rng(self.staging.seed).permutation(usable)
        tried = min(wanted, len(usable) // 2)
        changed, others = np.sort(mixed[:tried]), np.sort(mixed[tried:][:CALIBRATING_EPISODES])
        false_alarms = max(FALSE_ALARMS, 1 / (len(others) + 1))
        if false_alarms > FALSE_ALARMS:
            self.say(
                f"thresholds: {false_alarms:.1%} false alarms, the fewest that {len(others)} other episodes can promise"
            )
        with self.progress(f"simulating {perturbation.name}", tried + len(others), "episodes") as advance:
            return measure_doses(self.staging, changed, others, perturbation, false_alarms, advance)

    def _draw(self, count: int, lasts: int) -> np.ndarray:
        """Draw episodes that are long enough for a violation that lasts so many model steps."""
        # What looks ahead, or has the longer memory, sees more of it.
        run, beside = self.staging.run, self.staging.beside
        longer = max(0, beside.model.history - run.model.history) if beside else 0
        seen = lasts + self.staging.horizon - 1 + longer
        return draw_episodes(run, self.staging.dataset, self.episodes, count=count, seed=self.staging.seed, lasts=seen)
