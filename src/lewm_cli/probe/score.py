"""How good a prediction is, with an interval over episodes."""

import numpy as np

from lewm_cli.probe.result import ProbeScore
from lewm_cli.statistics import Clusters, draw_clusters, percentile_interval

RESAMPLES = 1000

LEAST_VARIANCE = 0.05
"""Of the quantity in a resample, as a share of that in all test episodes."""


def score(predicted: np.ndarray, actual: np.ndarray, episodes: np.ndarray, seed: int) -> ProbeScore:
    """Compare predictions of one quantity with the truth.

    Args:
        predicted, actual: (M,) z-scored.
        episodes: (M,) episode number of each; whole episodes are drawn anew for the interval.
        seed: of the bootstrap.
    """
    # Sums per episode are all that R2 needs, so that a resample costs nothing.
    clusters = Clusters(episodes)
    of_frames = (np.ones(len(actual)), actual, actual**2, _errors(predicted, actual))
    sums = np.stack([clusters.sums(values) for values in of_frames])
    drawn = draw_clusters(np.random.default_rng(seed), len(clusters), RESAMPLES)
    resampled = sums[:, drawn].sum(axis=2)
    # Resamples in which the quantity hardly varies explain nothing; they come up where there are few episodes.
    varies = _variance(resampled) > LEAST_VARIANCE * _variance(sums.sum(axis=1))
    low, high = percentile_interval(_r2(resampled[:, varies]))
    r = np.corrcoef(predicted, actual)[0, 1] if predicted.std() > 0 else 0.0
    return ProbeScore(
        mse=_errors(predicted, actual).mean(), r=float(r), r2=float(_r2(sums.sum(axis=1))), r2_low=low, r2_high=high
    )


def _errors(predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    return (predicted - actual) ** 2


def _variance(sums: np.ndarray) -> np.ndarray:
    count, total, squares, _ = sums
    return squares / count - (total / count) ** 2


def _r2(sums: np.ndarray) -> np.ndarray:
    count, _, _, errors = sums
    return 1 - errors / count / np.maximum(_variance(sums), 1e-12)
