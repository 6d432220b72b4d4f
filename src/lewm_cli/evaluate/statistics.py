"""A rate with an interval that knows which outcomes share an episode."""

import math
from statistics import NormalDist
from typing import Self

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from lewm_cli.config import Section


class Rate(Section):
    """Successes among trials, with a 95 % interval; `rate`, `low` and `high` are shares, not percent."""

    successes: NonNegativeInt
    trials: PositiveInt
    rate: float
    low: float
    high: float

    @classmethod
    def of(cls, outcomes: np.ndarray, clusters: np.ndarray) -> Self:
        """Wilson's interval, with the number of trials divided by the design effect of the clusters.

        Pairs of one episode are not independent. Their design effect (Kish) is the variance of the rate
        estimated over whole episodes, relative to that of as many independent trials; with one pair per episode
        it is 1 and the interval is Wilson's. Where all outcomes agree it cannot be estimated, and only the
        episodes are counted.

        Args:
            outcomes: (N,) bool.
            clusters: (N,) episode number of each; N at least 1.
        """
        trials, successes = len(outcomes), int(np.sum(outcomes))
        rate = successes / trials
        low, high = _wilson(rate, trials / _design_effect(outcomes, clusters, rate))
        return cls(successes=successes, trials=trials, rate=rate, low=low, high=high)

    def __str__(self) -> str:
        return f"{self.rate:.1%} [{100 * self.low:.0f}, {100 * self.high:.0f}]"


def _design_effect(outcomes: np.ndarray, clusters: np.ndarray, rate: float) -> float:
    _, numbers = np.unique(clusters, return_inverse=True)
    sizes = np.bincount(numbers)
    groups, trials = len(sizes), len(outcomes)
    if groups == trials:
        return 1.0
    if rate in (0.0, 1.0) or groups == 1:
        return trials / groups
    residuals = np.bincount(numbers, weights=np.asarray(outcomes, float)) - rate * sizes
    clustered = groups / (groups - 1) * np.sum(residuals**2) / trials**2
    return max(1.0, float(clustered / (rate * (1 - rate) / trials)))


def _wilson(rate: float, trials: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.975)
    middle = (rate + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    return max(0.0, middle - half), min(1.0, middle + half)
