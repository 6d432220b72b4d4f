"""Differences of success rates on the same pairs, and their tests."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic import NonNegativeInt
from scipy.stats import binomtest

from lewm_cli.config import Section
from lewm_cli.statistics.bootstrap import RESAMPLES, Clusters, percentile_interval, resample_over_seeds


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
        gains, clusters = np.atleast_2d(this).astype(int) - np.atleast_2d(other).astype(int), Clusters(episodes)
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
    discordant = only_this + only_other
    return float(binomtest(min(only_this, only_other), discordant).pvalue) if discordant else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: the chance of any false alarm among all comparisons stays below the level of each."""
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, k in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[k]))
        corrected[k] = least
    return corrected


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
    """Mean gain per pair of resampled episodes, (RESAMPLES // 2,).

    Episodes with as many pairs and the same gain are drawn as one kind, so that their order does not matter.

    Args:
        pairs, gained: (E,) of every episode, summed over its pairs.
    """
    (kind_pairs, kind_gained), episodes = np.unique([pairs, gained], axis=1, return_counts=True)
    total = int(episodes.sum())
    generator = np.random.default_rng(0)  # the same outcomes give the same interval
    drawn = generator.multinomial(total, episodes / total, RESAMPLES // 2)
    means: np.ndarray = (drawn @ kind_gained) / (drawn @ kind_pairs)
    return means


def _points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # no negative zero
