"""Success rates."""

import math
from statistics import NormalDist
from typing import Self

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from lewm_cli.config import Section
from lewm_cli.statistics.bootstrap import Clusters, percentile_interval, resample_over_seeds


class Rate(Section):
    """Successes among trials, all seeds together, with a 95 % interval; shares, not percent."""

    successes: NonNegativeInt
    trials: PositiveInt
    rate: float
    low: float
    high: float

    @classmethod
    def of(cls, outcomes: np.ndarray, episodes: np.ndarray) -> Self:
        """Counts outcomes.

        Of one seed the interval is Wilson's, with the number of trials divided by the design effect of the episodes:
        the variance of the rate estimated over whole episodes, relative to that of as many independent trials (Kish).
        With one pair per episode it is 1. Where all outcomes agree it cannot be estimated, and only the episodes are
        counted. Of several seeds the interval is a percentile bootstrap over seeds and episodes together.

        Args:
            outcomes: (N,) bool, or (S, N) of several seeds.
            episodes: (N,) episode number of each pair; N at least 1.
        """
        outcomes, clusters = np.atleast_2d(outcomes), Clusters(episodes)
        trials, successes = outcomes.size, int(np.sum(outcomes))
        rate = successes / trials
        if len(outcomes) == 1:
            low, high = _wilson(rate, trials / _design_effect(outcomes[0], clusters, rate))
        else:
            low, high = percentile_interval(resample_over_seeds(outcomes, clusters, least=0))
        return cls(successes=successes, trials=trials, rate=rate, low=low, high=high)

    def __str__(self) -> str:
        return f"{self.rate:.1%} [{100 * self.low:.0f}, {100 * self.high:.0f}]"


def _design_effect(outcomes: np.ndarray, clusters: Clusters, rate: float) -> float:
    groups, trials = len(clusters), len(outcomes)
    if groups == trials:
        return 1.0
    if rate in (0.0, 1.0) or groups == 1:
        return trials / groups
    residuals = clusters.sums(outcomes) - rate * clusters.sizes
    clustered = groups / (groups - 1) * np.sum(residuals**2) / trials**2
    return max(1.0, float(clustered / (rate * (1 - rate) / trials)))


def _wilson(rate: float, trials: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.975)
    middle = (rate + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    return max(0.0, middle - half), min(1.0, middle + half)
