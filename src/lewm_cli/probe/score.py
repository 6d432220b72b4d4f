"""Scores of one probe on test episodes."""

import numpy as np

from lewm_cli.probe.result import ProbeScore
from lewm_cli.statistics import estimate_r2


def score(predicted: np.ndarray, actual: np.ndarray, episodes: np.ndarray, seed: int) -> ProbeScore:
    """Compares predictions of one quantity with the truth.

    Args:
        predicted, actual: (M,) z-scored.
        episodes: (M,) episode number of each; whole episodes are drawn anew for the interval.
        seed: of the bootstrap.
    """
    r = np.corrcoef(predicted, actual)[0, 1] if predicted.std() > 0 else 0.0
    r2 = estimate_r2(predicted, actual, episodes, seed)
    mse = float(((predicted - actual) ** 2).mean())
    return ProbeScore(mse=mse, r=float(r), r2=r2.value, r2_low=r2.low, r2_high=r2.high)
