"""Rates and means with intervals that know which outcomes share an episode, and which share a seed."""

import math
from statistics import NormalDist
from typing import Self

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from lewm_cli.config import Section

RESAMPLES = 10_000


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


class PooledRate(Section):
    """A rate over several seeds on the same pairs, with a 95 % interval; all of them shares, not percent."""

    rate: float
    low: float
    high: float
    pairs: PositiveInt
    """Of each seed."""
    seeds: tuple[float, ...]
    """The rate of every seed alone."""

    @classmethod
    def of(cls, outcomes: np.ndarray, clusters: np.ndarray) -> Self:
        """Pool outcomes; the interval is a percentile bootstrap that draws seeds and episodes anew, both at once.

        Another seed gives other outcomes on the same pairs, and other episodes give other pairs: either alone would
        make the interval too narrow. Two imagined episodes are drawn with the real ones, one that is always solved
        and one that never is: without them, outcomes that all agree would seem certain however few they are. Of one
        seed it is the interval of `Rate`.

        Args:
            outcomes: (S, N) bool.
            clusters: (N,) episode number of each pair; N at least 1.
        """
        seeds = tuple(outcomes.mean(axis=1).tolist())
        if len(seeds) == 1:
            alone = Rate.of(outcomes[0], clusters)
            low, high = alone.low, alone.high
        else:
            low, high = np.percentile(resampled(outcomes, clusters, least=0), [2.5, 97.5]).tolist()
        return cls(rate=float(outcomes.mean()), low=low, high=high, pairs=len(clusters), seeds=seeds)

    def __str__(self) -> str:
        return f"{self.rate:.1%} [{100 * self.low:.0f}, {100 * self.high:.0f}]"


class Mean(Section):
    """A mean over pairs, with a 95 % interval."""

    mean: float
    low: float
    high: float
    pairs: PositiveInt

    @classmethod
    def of(cls, values: np.ndarray, clusters: np.ndarray) -> Self:
        """The interval is a percentile bootstrap over whole episodes; of one episode alone it is no interval.

        Args:
            values: (N,)
            clusters: (N,) episode number of each; N at least 1.
        """
        _, numbers = np.unique(clusters, return_inverse=True)
        pairs, sums = np.bincount(numbers), np.bincount(numbers, weights=values)
        generator = np.random.default_rng(0)  # the same values give the same interval
        drawn = generator.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), RESAMPLES)
        low, high = np.percentile((drawn @ sums) / (drawn @ pairs), [2.5, 97.5]).tolist()
        return cls(mean=float(values.mean()), low=low, high=high, pairs=len(values))

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def resampled(outcomes: np.ndarray, clusters: np.ndarray, *, least: float) -> np.ndarray:
    """Means of outcomes (S, N) with seeds and whole episodes drawn with replacement; (RESAMPLES,).

    Two imagined episodes are drawn with the real ones, one of the outcome 1 and one of the least there can be.

    Args:
        outcomes: (S, N), none above 1.
        clusters: (N,) episode number of each pair.
        least: 0 where outcomes are successes, -1 where they are differences of two.
    """
    _, numbers = np.unique(clusters, return_inverse=True)
    pairs = np.bincount(numbers).astype(float)
    solved = np.stack([np.bincount(numbers, weights=one) for one in outcomes.astype(float)])
    mean = pairs.mean()
    pairs = np.append(pairs, [mean, mean])
    solved = np.pad(solved, ((0, 0), (0, 2)))
    solved[:, -2:] = mean, least * mean
    generator = np.random.default_rng(0)  # the same outcomes give the same interval
    seeds, episodes = solved.shape
    rates = []
    for _ in range(10):  # a tenth at a time bounds the memory
        of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES // 10)
        of_episodes = generator.multinomial(episodes, np.full(episodes, 1 / episodes), RESAMPLES // 10)
        rates.append(((of_seeds @ solved) * of_episodes).sum(axis=1) / (seeds * (of_episodes @ pairs)))
    return np.concatenate(rates)


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
