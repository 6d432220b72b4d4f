"""How much more one thing solves than another on the same pairs."""

from typing import Self

import numpy as np
from pydantic import NonNegativeInt
from scipy.stats import binomtest

from lewm_cli.config import Section
from lewm_cli.evaluate.statistics import RESAMPLES, resampled

SEED = 0
"""Of the bootstrap: the same results give the same intervals."""


class _Interval(Section):
    """A difference of two shares, with its 95 % interval."""

    rate: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """Whether this one was shown to be better: the interval lies above 0."""
        return self.low > 0

    def __str__(self) -> str:
        return f"{_points(self.rate)} [{_points(self.low)}, {_points(self.high)}]"


class Difference(_Interval):
    """Success rate minus another one on the same pairs; `rate`, `low` and `high` are shares, the interval is 95 %."""

    only_this: NonNegativeInt
    """Pairs that only this one solved."""
    only_other: NonNegativeInt
    p: float
    """McNemar's exact test, two-sided."""

    @classmethod
    def of(cls, this: np.ndarray, other: np.ndarray, clusters: np.ndarray) -> Self:
        """Compare outcomes on the same N pairs.

        The interval is a percentile bootstrap over whole episodes, for pairs of one episode are not independent. Two
        imagined episodes are resampled with the real ones, one that only this solved and one that only the other
        did: without them, outcomes that never differ, or always do, would seem certain however few they are.

        Args:
            this, other: (N,) bool.
            clusters: (N,) episode number of each; N at least 1.
        """
        gains = this.astype(int) - other.astype(int)
        low, high = np.percentile(_resampled(gains, clusters), [2.5, 97.5])
        only_this, only_other = int(np.sum(gains > 0)), int(np.sum(gains < 0))
        return cls(
            rate=(only_this - only_other) / len(gains),
            low=low,
            high=high,
            only_this=only_this,
            only_other=only_other,
            p=mcnemar(only_this, only_other),
        )


class PooledDifference(_Interval):
    """The same over several seeds; the interval is over seeds and episodes together."""

    @classmethod
    def of(cls, this: np.ndarray, other: np.ndarray, clusters: np.ndarray) -> Self:
        """Pool differences as `PooledRate` pools rates; of one seed it is the interval of `Difference`.

        Args:
            this, other: (S, N) bool.
            clusters: (N,) episode number of each pair; N at least 1.
        """
        if len(this) == 1:
            alone = Difference.of(this[0], other[0], clusters)
            return cls(rate=alone.rate, low=alone.low, high=alone.high)
        gains = this.astype(int) - other.astype(int)
        low, high = np.percentile(resampled(gains, clusters, least=-1), [2.5, 97.5]).tolist()
        return cls(rate=float(gains.mean()), low=low, high=high)


def mcnemar(only_this: int, only_other: int) -> float:
    """Two-sided p of the exact test: are the pairs that one alone solved shared out like tosses of a coin?"""
    discordant = only_this + only_other
    return float(binomtest(min(only_this, only_other), discordant).pvalue) if discordant else 1.0


def _resampled(gains: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Mean gain over episodes drawn with replacement, (RESAMPLES,)."""
    _, numbers = np.unique(clusters, return_inverse=True)
    pairs, sums = np.bincount(numbers), np.bincount(numbers, weights=gains)
    mean = pairs.mean()
    episodes = np.stack([np.append(pairs, [mean, mean]), np.append(sums, [mean, -mean])])
    # Half of the draws from either side: to swap what is compared is to swap the ends of the interval, exactly.
    return np.concatenate([_draws(episodes), -_draws(episodes * [[1], [-1]])])


def _draws(episodes: np.ndarray) -> np.ndarray:
    """Mean gains of draws from episodes (2, E), pairs and summed gain of each; equal ones are drawn as one kind."""
    kinds, counts = np.unique(episodes, axis=1, return_counts=True)
    size = int(counts.sum())
    drawn = np.random.default_rng(SEED).multinomial(size, counts / size, RESAMPLES // 2)
    return (drawn @ kinds[1]) / (drawn @ kinds[0])


def _points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # no negative zero
