"""The result of `lewm surprise --doses`: how often changes of every size are found, and which half of the time."""

from typing import Self

import numpy as np
from pydantic import PositiveInt
from scipy.optimize import isotonic_regression

from lewm_cli.config import Section
from lewm_cli.statistics import Rate
from lewm_cli.store import Measurement
from lewm_cli.surprise.surprise_result import BesideRun, Detector

RESAMPLES = 1000


class DetectorDoses(Section):
    """Says how well one detector finds a change of every size.

    `half` is the size that is found half of the time, with its 95 % interval over episodes; None where not even the
    largest is. Where the smallest is found that often it is that one, and means at most.
    """

    threshold: float
    """Of the detector's values: at the event, a higher one is a find."""
    found: tuple[Rate, ...]
    """At every size."""
    half: float | None
    half_low: float | None
    half_high: float | None

    @classmethod
    def of(cls, sizes: np.ndarray, values: np.ndarray, threshold: float, episodes: np.ndarray, seed: int) -> Self:
        """Counts finds, and estimates the size that is found half of the time.

        Shares are made to rise with the size (isotonic regression) and interpolated over its logarithm; the interval is
        a percentile bootstrap over episodes.

        Args:
            sizes: (S,) rising.
            values: (S, N) of the detector, at the event.
            episodes: (N,) their numbers.
            seed: of the bootstrap.
        """
        found = values > threshold
        drawn = np.random.default_rng(seed).integers(len(episodes), size=(RESAMPLES, len(episodes)))
        resampled = [half_found(sizes, found[:, one].mean(axis=1)) for one in drawn]
        low, high = np.percentile(resampled, [2.5, 97.5], method="nearest")  # no number lies beside the infinite
        half, half_low, half_high = (
            float(size) if np.isfinite(size) else None for size in (half_found(sizes, found.mean(axis=1)), low, high)
        )
        rates = tuple(Rate.of(one, episodes) for one in found)
        return cls(threshold=threshold, found=rates, half=half, half_low=half_low, half_high=half_high)


class DoseResult(Measurement):
    """Episodes with a change of several sizes, and what every detector finds at a threshold of few false alarms."""

    perturbation: str
    size_unit: str
    arena: float
    """Length of the arena, in the unit."""
    sizes: tuple[float, ...]
    frameskip: PositiveInt
    horizon: PositiveInt = 1
    """Model steps that are looked ahead."""
    seed: int
    beside: BesideRun | None = None
    false_alarms: float
    """The expected share of the model steps of an untouched episode that lie above the threshold."""
    calibrated: tuple[int, ...]
    """Episodes that thresholds were computed from, untouched."""
    tried: tuple[int, ...]
    """The other episodes, changed."""
    detectors: dict[Detector, DetectorDoses]
    values: dict[Detector, tuple[tuple[float, ...], ...]]
    """At the event: at every size, of every episode that was tried."""


def half_found(sizes: np.ndarray, shares: np.ndarray) -> float:
    """Interpolates the size at which half is found, infinite if none is; sizes (S,) rise, and so shares (S,) should."""
    fitted = isotonic_regression(shares).x
    if fitted[0] >= 0.5:
        return float(sizes[0])
    if fitted[-1] < 0.5:
        return float("inf")
    above = int(np.argmax(fitted >= 0.5))
    part = (0.5 - fitted[above - 1]) / (fitted[above] - fitted[above - 1])
    return float(np.exp((1 - part) * np.log(sizes[above - 1]) + part * np.log(sizes[above])))
