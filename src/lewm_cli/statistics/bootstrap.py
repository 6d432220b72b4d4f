"""The clustered bootstrap: whole episodes are drawn anew, for values of one episode are not independent."""

import numpy as np

RESAMPLES = 10_000
"""Resamples for rates, differences and means, whose statistic is cheap."""

CHUNKS = 10
"""Resamples are drawn in so many parts where two axes are drawn, which bounds the memory."""


class Clusters:
    """Values (N,) grouped by the number of the recorded episode that each comes from; N at least 1."""

    def __init__(self, episodes: np.ndarray) -> None:
        _, self._of_value = np.unique(episodes, return_inverse=True)
        self.sizes = np.bincount(self._of_value)

    def __len__(self) -> int:
        return len(self.sizes)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum of the values (N,) of every cluster, (E,)."""
        return np.bincount(self._of_value, weights=values)


def count_draws(generator: np.random.Generator, clusters: int, resamples: int) -> np.ndarray:
    """Draw as many clusters as there are, with replacement; how often each came up, (resamples, clusters)."""
    return generator.multinomial(clusters, np.full(clusters, 1 / clusters), resamples)


def percentile_interval(resampled: np.ndarray | list[float]) -> tuple[float, float]:
    """The middle 95 % of a statistic over resamples."""
    low, high = np.percentile(resampled, [2.5, 97.5]).tolist()
    return low, high


def resample_over_seeds(outcomes: np.ndarray, clusters: Clusters, *, least: float) -> np.ndarray:
    """Means of outcomes with seeds and whole episodes drawn anew, both at once; (RESAMPLES,).

    Another seed gives other outcomes on the same pairs, and other episodes give other pairs: either alone would make an
    interval too narrow. Two imagined episodes are drawn with the real ones, one of the outcome 1 and one of the least
    there can be: without them, outcomes that all agree would seem certain however few they are.

    Args:
        outcomes: (S, N), from `least` (0 for successes, -1 for differences of two) to 1.
        clusters: of the N pairs.
    """
    mean = clusters.sizes.mean()
    pairs = np.append(clusters.sizes, [mean, mean])
    sums = np.stack([np.append(clusters.sums(one), [mean, least * mean]) for one in outcomes])
    generator = np.random.default_rng(0)  # the same outcomes give the same interval
    seeds, episodes = sums.shape
    means = []
    for _ in range(CHUNKS):
        of_seeds = count_draws(generator, seeds, RESAMPLES // CHUNKS)
        of_episodes = count_draws(generator, episodes, RESAMPLES // CHUNKS)
        means.append(((of_seeds @ sums) * of_episodes).sum(axis=1) / (seeds * (of_episodes @ pairs)))
    return np.concatenate(means)
