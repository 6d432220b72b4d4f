"""Measures how small a change may be until a detector no longer finds it."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from lewm_cli.data import Dataset, Frames
from lewm_cli.heads import untrained_reference
from lewm_cli.store import Run
from lewm_cli.surprise.alarm import conformal_threshold
from lewm_cli.surprise.curves import detect
from lewm_cli.surprise.dose_result import DetectorDoses, DoseResult
from lewm_cli.surprise.perturbed import recorded_scene
from lewm_cli.surprise.staged import play
from lewm_cli.surprise.surprise_result import BesideRun, Curve
from lewm_cli.tasks import Perturbation, Task

FRACTIONS = tuple(0.5 ** np.arange(7, 0, -1))
"""Sizes, as shares of the arena."""


def measure_doses(
    run: Run,
    task: Task,
    dataset: Dataset,
    frames: Frames,
    tried: np.ndarray,
    calibrated: np.ndarray,
    perturbation: Perturbation,
    *,
    false_alarms: float,
    held_out: bool,
    seed: int,
    advance: Callable[[int], None],
    horizon: int = 1,
    beside: Run | None = None,
) -> DoseResult:
    """Computes thresholds from some episodes untouched, and changes the middle of others by every size.

    The arguments are those of `measure_perturbation`, and:

    Args:
        tried, calibrated: (N,) and (M,) episodes.
        perturbation: one with an arena.
        false_alarms: the expected share of the steps of an untouched episode above the threshold.

    Raises:
        LewmError: too few episodes to calibrate on.
    """
    begun = time.monotonic()
    assert task.make_simulator is not None  # it knows the perturbation
    simulator, reference = task.make_simulator(), untrained_reference(run, dataset, frames, seed)
    untouched = []
    for episode in map(int, calibrated):
        scene = recorded_scene(run, task, dataset, episode)
        film = play(simulator, scene, scene.blocks)
        taken = scene.blocks.reshape(-1, scene.blocks.shape[2])
        untouched.append(detect(run, reference, film.frames, taken, film.proprio, beside=beside, horizon=horizon))
        advance(1)
    thresholds = {
        detector: conformal_threshold([_known(curves[detector]) for curves in untouched], false_alarms)
        for detector in untouched[0]
    }
    sizes = perturbation.arena * np.array(FRACTIONS)
    values = {detector: np.empty((len(sizes), len(tried))) for detector in thresholds}
    for number, episode in enumerate(map(int, tried)):
        scene = recorded_scene(run, task, dataset, episode)
        blocks = scene.blocks[: scene.event]  # the event is in the last frame
        taken = blocks.reshape(-1, blocks.shape[2])
        for k, size in enumerate(sizes):
            generator = np.random.default_rng([seed, episode])
            change = partial(simulator.perturb, perturbation.name, generator, float(size))
            film = play(simulator, scene, blocks, change, scene.event)
            curves = detect(run, reference, film.frames, taken, film.proprio, beside=beside, horizon=horizon)
            for detector, curve in curves.items():
                values[detector][k, number] = curve[-1]
        advance(1)
    return DoseResult.of(
        run,
        dataset,
        held_out=held_out,
        begun=begun,
        perturbation=perturbation.name,
        size_unit=perturbation.unit,
        arena=perturbation.arena,
        sizes=tuple(sizes.tolist()),
        frameskip=run.card.inputs.frameskip,
        horizon=horizon,
        seed=seed,
        beside=BesideRun(run=beside.name, weights_sha256=beside.sha256) if beside else None,
        false_alarms=false_alarms,
        calibrated=tuple(calibrated.tolist()),
        tried=tuple(tried.tolist()),
        detectors={
            detector: DetectorDoses.of(sizes, found, thresholds[detector], tried, seed)
            for detector, found in values.items()
        },
        values={detector: tuple(map(tuple, found.tolist())) for detector, found in values.items()},
    )


def _known(curve: Curve) -> np.ndarray:
    return np.array([value for value in curve if value is not None])
