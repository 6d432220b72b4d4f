"""R2, the share of a quantity's variance that predictions explain, with its interval over episodes."""

import numpy as np

from lewm_cli.statistics.bootstrap import Clusters, draw_clusters, percentile_interval
from lewm_cli.statistics.estimate import Estimate

RESAMPLES = 1000

LEAST_VARIANCE = 0.05
"""Variance of the quantity in a resample, as a share of that in all episodes."""


def estimate_r2(predicted: np.ndarray, actual: np.ndarray, episodes: np.ndarray, seed: int) -> Estimate:
    """Estimates R2; the interval is a percentile bootstrap over whole episodes.

    Args:
        predicted, actual: (M,)
        episodes: (M,) episode number of each.
        seed: of the bootstrap.
    """
    # Sums per episode are all that R2 needs, so that a resample costs nothing.
    clusters = Clusters(episodes)
    of_frames = (np.ones(len(actual)), actual, actual**2, (predicted - actual) ** 2)
    sums = np.stack([clusters.sums(values) for values in of_frames])
    drawn = draw_clusters(np.random.default_rng(seed), len(clusters), RESAMPLES)
    resampled = sums[:, drawn].sum(axis=2)
    # Resamples in which the quantity hardly varies explain nothing; they come up where there are few episodes.
    varies = _variance(resampled) > LEAST_VARIANCE * _variance(sums.sum(axis=1))
    low, high = percentile_interval(_r2(resampled[:, varies]))
    return Estimate(value=float(_r2(sums.sum(axis=1))), low=low, high=high)


def _variance(sums: np.ndarray) -> np.ndarray:
    count, total, squares, _ = sums
    variance: np.ndarray = squares / count - (total / count) ** 2
    return variance


def _r2(sums: np.ndarray) -> np.ndarray:
    count, _, _, errors = sums
    explained: np.ndarray = 1 - errors / count / np.maximum(_variance(sums), 1e-12)
    return explained
