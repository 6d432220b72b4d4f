"""A number with its interval."""

from typing import Self

import numpy as np

from lewm_cli.config import Section
from lewm_cli.statistics.bootstrap import RESAMPLES, Clusters, count_draws, percentile_interval


class Estimate(Section):
    """A number with its 95 % bootstrap interval over episodes; `f"{estimate:.2f}"` formats all three."""

    value: float
    low: float
    high: float

    @classmethod
    def of_mean(cls, values: np.ndarray, episodes: np.ndarray) -> Self:
        """Estimates a mean; the interval is a percentile bootstrap over whole episodes.

        Args:
            values: (N,)
            episodes: (N,) episode number of each; N at least 1. Of one episode alone the interval has no width.
        """
        clusters = Clusters(episodes)
        drawn = count_draws(np.random.default_rng(0), len(clusters), RESAMPLES)  # the same values, the same interval
        low, high = percentile_interval((drawn @ clusters.sums(values)) / (drawn @ clusters.sizes))
        return cls(value=float(values.mean()), low=low, high=high)

    def __format__(self, spec: str) -> str:
        spec = spec or ".3f"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return f"{self}"
