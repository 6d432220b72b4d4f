"""A number with its interval: a mean, or R2, the share of a quantity's variance that predictions explain."""

from typing import Self

import numpy as np

from lewm_cli.config import Section
from lewm_cli.statistics.bootstrap import RESAMPLES, Clusters, count_draws, percentile_interval

R2_RESAMPLES = 1000

LEAST_VARIANCE = 0.05
"""Variance of the quantity in a resample, as a share of that in all episodes."""


class Estimate(Section):
    """A number with its 95 % bootstrap interval over episodes; `f"{estimate:.2f}"` formats all three."""

    value: float
    low: float
    high: float

    @classmethod
    def of_mean(cls, values: np.ndarray, episodes: np.ndarray) -> Self:
        """Estimates the mean of values (N,), given the episode number (N,) of each; N is at least 1.

        The interval is a percentile bootstrap over whole episodes; of one episode alone it has no width.
        """
        clusters = Clusters(episodes)
        drawn = count_draws(np.random.default_rng(0), len(clusters), RESAMPLES)  # the same values, the same interval
        low, high = percentile_interval((drawn @ clusters.sums(values)) / (drawn @ clusters.sizes))
        return cls(value=float(values.mean()), low=low, high=high)

    @classmethod
    def of_ratio(cls, values: np.ndarray, reference: np.ndarray, episodes: np.ndarray) -> Self:
        """Estimates the ratio of two means, of values (N,) and a reference (N,), as `of_mean` does a mean."""
        clusters, least = Clusters(episodes), np.finfo(float).tiny
        drawn = count_draws(np.random.default_rng(0), len(clusters), RESAMPLES)
        above, below = drawn @ clusters.sums(values), drawn @ clusters.sums(reference)
        low, high = percentile_interval(above / np.maximum(below, least))
        return cls(value=float(values.sum() / max(reference.sum(), least)), low=low, high=high)

    def __format__(self, spec: str) -> str:
        spec = spec or ".3f"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return f"{self}"


def estimate_r2(predicted: np.ndarray, actual: np.ndarray, episodes: np.ndarray, seed: int) -> Estimate:
    """Estimates R2 of predictions (N,) of actual values (N,); the interval is that of `Estimate.of_mean`.

    Of several coordinates (N, C) it is one share: of the variance of all of them together.
    """
    # Sums per episode are all that R2 needs, so that a resample costs nothing.
    clusters, count = Clusters(episodes), len(actual)
    actual, predicted = actual.reshape(count, -1).T, predicted.reshape(count, -1).T
    of_frames = (*actual, np.ones(count), (actual**2).sum(axis=0), ((predicted - actual) ** 2).sum(axis=0))
    sums = np.stack([clusters.sums(values) for values in of_frames])
    drawn = np.random.default_rng(seed).integers(len(clusters), size=(R2_RESAMPLES, len(clusters)))
    resampled = sums[:, drawn].sum(axis=2)
    # Resamples in which the quantity hardly varies explain nothing; they come up where there are few episodes.
    varies = _variance(resampled) > LEAST_VARIANCE * _variance(sums.sum(axis=1))
    low, high = percentile_interval(_r2(resampled[:, varies]))
    return Estimate(value=float(_r2(sums.sum(axis=1))), low=low, high=high)


def _variance(sums: np.ndarray) -> np.ndarray:
    *totals, count, squares, _ = sums
    return squares / count - sum((total / count) ** 2 for total in totals)


def _r2(sums: np.ndarray) -> np.ndarray:
    *_, count, _, errors = sums
    return 1 - errors / count / np.maximum(_variance(sums), 1e-12)
