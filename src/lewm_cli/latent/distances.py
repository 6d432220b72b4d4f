"""Latent distance against true distance, between pairs of frames."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.stats import rankdata, spearmanr

from lewm_cli.latent.latent_result import DistanceBin, Distances
from lewm_cli.latent.tracks import Tracks
from lewm_cli.statistics import Estimate, percentile_interval

PAIRS = 20_000
"""Pairs of different episodes."""

PAIRS_IN_TIME = 4_000
"""Pairs of the same episode in each bin, at most."""

BINS = 8
"""Bins of true distance."""

FEWEST = 10
"""Pairs in a bin of time, at least."""

LAGS = ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64))
"""Model steps between pairs of the same episode, both ends included."""

RESAMPLES = 500


@dataclass(frozen=True)
class FramePairs:
    """Pairs of frames that are compared, the same ones for every encoder.

    Args:
        between: (2, P) places of frames of different episodes.
        within: places (2, M) of frames of the same episode, by the bin of `LAGS`; those with too few are not there.
    """

    between: np.ndarray
    within: dict[tuple[int, int], np.ndarray]

    @classmethod
    def draw(cls, tracks: Tracks, seed: int) -> Self:
        """Draws them from tracks of two episodes or more."""
        generator = np.random.default_rng(seed)
        between = generator.integers(len(tracks.rows), size=(2, 2 * PAIRS))
        between = between[:, tracks.owners[between[0]] != tracks.owners[between[1]]][:, :PAIRS]
        within = {}
        for low, high in LAGS:
            pairs = np.concatenate([np.stack(tracks.steps_apart(lag)) for lag in range(low, high + 1)], axis=1)
            if pairs.shape[1] >= FEWEST:
                within[low, high] = pairs[:, generator.permutation(pairs.shape[1])[:PAIRS_IN_TIME]]
        return cls(between, within)


def compare_distances(
    latents: np.ndarray, state: np.ndarray, tracks: Tracks, pairs: FramePairs, nearest: np.ndarray, seed: int
) -> Distances:
    """Compares distances of latents (N, D) with those of states (N, K).

    Args:
        nearest: (N,) the frame of another episode whose latent is nearest.
        seed: of the bootstrap.
    """
    latent, true = (_apart(values, pairs.between) for values in (latents, state))
    edges = np.quantile(true, np.linspace(0, 1, BINS + 1))
    bins = np.clip(np.searchsorted(edges, true, side="right") - 1, 0, BINS - 1)
    found = Estimate.of_mean(np.linalg.norm(state - state[nearest], axis=1), tracks.owners)
    return Distances(
        correlation=_correlate(latent, true, tracks.owners[pairs.between], seed),
        by_distance=tuple(
            _bin(edges[k], edges[k + 1], latent[bins == k], true[bins == k]) for k in range(BINS) if (bins == k).any()
        ),
        by_time=tuple(
            _bin(low, high, _apart(latents, apart), _apart(state, apart)) for (low, high), apart in pairs.within.items()
        ),
        nearest=found,
    )


def _apart(values: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return np.linalg.norm(values[pairs[0]] - values[pairs[1]], axis=1)


def _bin(low: float, high: float, latent: np.ndarray, true: np.ndarray) -> DistanceBin:
    differ = np.ptp(latent) > 0 and np.ptp(true) > 0
    quartiles = np.quantile(latent, [0.25, 0.5, 0.75]).tolist()
    return DistanceBin(
        low=low,
        high=high,
        pairs=len(latent),
        correlation=float(spearmanr(latent, true).statistic) if differ else None,
        latent_low=quartiles[0],
        latent_median=quartiles[1],
        latent_high=quartiles[2],
    )


def _correlate(latent: np.ndarray, true: np.ndarray, owners: np.ndarray, seed: int) -> Estimate:
    """Spearman's correlation over pairs (P,), with an interval over the episodes (2, P) of their frames.

    Whole episodes are drawn anew, and a pair comes as often as its two episodes together; ranks stay what they are.
    """
    ranks = np.stack([rankdata(values) for values in (latent, true)])
    episodes, numbers = np.unique(owners, return_inverse=True)
    first, second = numbers.reshape(owners.shape)
    generator, resampled = np.random.default_rng(seed), []
    for _ in range(RESAMPLES):
        counts = np.bincount(generator.integers(len(episodes), size=len(episodes)), minlength=len(episodes))
        weights = counts[first] * counts[second]
        if weights.any():
            resampled.append(_weighted(ranks, weights))
    low, high = percentile_interval(resampled)
    return Estimate(value=_weighted(ranks, np.ones(len(latent))), low=low, high=high)


def _weighted(ranks: np.ndarray, weights: np.ndarray) -> float:
    """Pearson's correlation of two rows (2, P) with weights (P,); 0 where one of them never differs."""
    centered = ranks - np.average(ranks, axis=1, weights=weights)[:, None]
    covariance = (centered * weights) @ centered.T
    variances = covariance[0, 0] * covariance[1, 1]
    return float(covariance[0, 1] / np.sqrt(variances)) if variances > 0 else 0.0
