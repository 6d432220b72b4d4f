"""Measures how small a change may be until a detector no longer finds it."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from lewm_cli.surprise.alarm import conformal_threshold
from lewm_cli.surprise.dose_result import DetectorDoses, DoseResult
from lewm_cli.surprise.perturbed import Staging
from lewm_cli.surprise.staged import play
from lewm_cli.tasks import Perturbation

FRACTIONS = tuple(0.5 ** np.arange(7, 0, -1))
"""Sizes, as shares of the arena."""


def measure_doses(
    staging: Staging,
    tried: np.ndarray,
    calibrated: np.ndarray,
    perturbation: Perturbation,
    false_alarms: float,
    advance: Callable[[int], None],
) -> DoseResult:
    """Computes thresholds from some episodes untouched, and changes the middle of others by every size.

    Args:
        tried, calibrated: (N,) and (M,) episodes.
        perturbation: one with an arena.
        false_alarms: the expected share of the steps of an untouched episode above the threshold.
        advance: called with the number of episodes done since the last call.

    Raises:
        LewmError: too few episodes to calibrate on.
    """
    begun, simulator, look = time.monotonic(), staging.simulator(), staging.detectors()
    untouched = []
    for scene in map(staging.scene, calibrated.tolist()):
        untouched.append(look(play(simulator, scene, scene.blocks), scene.blocks))
        advance(1)
    thresholds = {
        detector: conformal_threshold(
            [np.array([value for value in curves[detector] if value is not None]) for curves in untouched], false_alarms
        )
        for detector in untouched[0]
    }
    sizes = perturbation.arena * np.array(FRACTIONS)
    values = {detector: np.empty((len(sizes), len(tried))) for detector in thresholds}
    for number, episode in enumerate(tried.tolist()):
        scene = staging.scene(episode)
        blocks = scene.blocks[: scene.event]  # the event is in the last frame
        for k, size in enumerate(sizes):
            generator = np.random.default_rng([staging.seed, episode])
            change = partial(simulator.perturb, perturbation.name, generator, float(size))
            film = play(simulator, scene, blocks, change, scene.event)
            for detector, curve in look(film, blocks).items():
                values[detector][k, number] = curve[-1]
        advance(1)
    return staging.result(
        DoseResult,
        begun,
        perturbation,
        arena=perturbation.arena,
        sizes=tuple(sizes.tolist()),
        false_alarms=false_alarms,
        calibrated=tuple(calibrated.tolist()),
        tried=tuple(tried.tolist()),
        detectors={
            detector: DetectorDoses.of(sizes, found, thresholds[detector], tried, staging.seed)
            for detector, found in values.items()
        },
        values={detector: tuple(map(tuple, found.tolist())) for detector, found in values.items()},
    )
