"""Success rates, their differences on the same pairs, and the tests of these."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Self

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from lewm_cli.config import Section
from lewm_cli.statistics.bootstrap import RESAMPLES, Clusters, percentile_interval, resample_over_seeds


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


class Difference(Section):
    """A success rate minus another one on the same pairs, with a 95 % interval; shares, not percent."""

    rate: float
    low: float
    high: float
    only_this: NonNegativeInt
    """Pairs that only this one solved, counted once per seed."""
    only_other: NonNegativeInt
    p: float | None
    """McNemar's exact test, two-sided; None for several seeds, whose outcomes on one pair are not independent."""

    @classmethod
    def of(cls, this: np.ndarray, other: np.ndarray, episodes: np.ndarray) -> Self:
        """Compares outcomes on the same pairs, seed by seed.

        The interval is a percentile bootstrap over whole episodes, and over seeds together with them where there are
        several. Two imagined episodes are drawn with the real ones, one that only this solved and one that only the
        other did: without them, outcomes that never differ, or always do, would seem certain however few they are.

        Args:
            this, other: (N,) bool, or (S, N) of several seeds.
            episodes: (N,) episode number of each pair; N at least 1.
        """
        clusters = Clusters(episodes)
        gains = np.atleast_2d(this).astype(int) - np.atleast_2d(other).astype(int)
        only_this, only_other = int(np.sum(gains > 0)), int(np.sum(gains < 0))
        one_seed = len(gains) == 1
        resampled = _resample(gains[0], clusters) if one_seed else resample_over_seeds(gains, clusters, least=-1)
        low, high = percentile_interval(resampled)
        return cls(
            rate=(only_this - only_other) / gains.size,
            low=low,
            high=high,
            only_this=only_this,
            only_other=only_other,
            p=mcnemar(only_this, only_other) if one_seed else None,
        )

    @property
    def shown(self) -> bool:
        """True if the interval lies above 0, which shows that this one is better."""
        return self.low > 0

    def __str__(self) -> str:
        return f"{_points(self.rate)} [{_points(self.low)}, {_points(self.high)}]"


def mcnemar(only_this: int, only_other: int) -> float:
    """Two-sided p of the exact test: are the pairs that one alone solved shared out like tosses of a coin?"""
    from scipy.stats import binomtest  # late: cards hold rates, and are read by commands that compute nothing

    discordant = only_this + only_other
    return float(binomtest(min(only_this, only_other), discordant).pvalue) if discordant else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: the chance of any false alarm among all comparisons stays below the level of each."""
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, k in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[k]))
        corrected[k] = least
    return corrected


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


def _resample(gains: np.ndarray, clusters: Clusters) -> np.ndarray:
    """Mean gains (RESAMPLES,) of episodes drawn anew.

    Half of the resamples are of the gains and half, by the same draws, of the losses: so the interval of this minus
    other is exactly that of other minus this with its ends swapped.
    """
    mean = clusters.sizes.mean()
    pairs = np.append(clusters.sizes, [mean, mean])
    gained = np.append(clusters.sums(gains), [mean, -mean])
    return np.concatenate([_mean_gains(pairs, gained), -_mean_gains(pairs, -gained)])


def _mean_gains(pairs: np.ndarray, gained: np.ndarray) -> np.ndarray:
    """Mean gain per pair of resampled episodes, (RESAMPLES // 2,); pairs and gained (E,) are sums of every episode."""
    # Episodes with as many pairs and the same gain are drawn as one kind, so that their order does not matter.
    (kind_pairs, kind_gained), episodes = np.unique([pairs, gained], axis=1, return_counts=True)
    total = int(episodes.sum())
    generator = np.random.default_rng(0)  # the same outcomes give the same interval
    drawn = generator.multinomial(total, episodes / total, RESAMPLES // 2)
    return (drawn @ kind_gained) / (drawn @ kind_pairs)


def _points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # no negative zero
