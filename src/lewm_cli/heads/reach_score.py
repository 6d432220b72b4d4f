"""Scores of what is told about the time between frames, with intervals over episodes."""

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

from lewm_cli.config import Section
from lewm_cli.statistics import Estimate, percentile_interval

RESAMPLES = 300


class ReachScore(Section):
    """Scores of predictions how far pairs of frames of one episode are apart."""

    correlation: Estimate
    """Spearman's, with the environment steps between them."""
    auroc: Estimate
    """AUROC of telling pairs within the planner's horizon from pairs beyond it."""


class ReachScores(Section):
    """Scores on the same pairs of frames, the earlier ones of which are encoded or imagined."""

    encoded: ReachScore
    imagined: ReachScore


def score_reach(predicted: np.ndarray, steps: np.ndarray, episodes: np.ndarray, within: int, seed: int) -> ReachScore:
    """Compares the distances that one head or several predict with the truth; the scores are means over heads.

    Args:
        predicted: (H, P) larger is farther, in any unit.
        steps: (P,) environment steps that pairs are apart.
        episodes: (P,) of each pair; whole episodes and whole heads are drawn anew for the intervals.
        within: environment steps up to which a pair counts as within the planner's horizon.
        seed: of the bootstrap.
    """

    def estimate(measure: Callable[[np.ndarray, np.ndarray], float]) -> Estimate:
        def mean(heads: np.ndarray, pairs: np.ndarray) -> float:
            return float(np.mean([measure(head[pairs], steps[pairs]) for head in predicted[heads]]))

        return _bootstrap(mean, len(predicted), episodes, seed)

    return ReachScore(
        correlation=estimate(_spearman), auroc=estimate(lambda ranked, steps: _auroc(ranked, steps > within))
    )


def score_gain(predicted: np.ndarray, steps: np.ndarray, episodes: np.ndarray, seed: int) -> Estimate:
    """Computes the rank correlation of the first of two heads (2, P) less that of the second; else as `score_reach`."""

    def gain(_: np.ndarray, pairs: np.ndarray) -> float:
        return _spearman(predicted[0, pairs], steps[pairs]) - _spearman(predicted[1, pairs], steps[pairs])

    return _bootstrap(gain, 1, episodes, seed)


def _bootstrap(
    measure: Callable[[np.ndarray, np.ndarray], float], heads: int, episodes: np.ndarray, seed: int
) -> Estimate:
    """Estimates what is measured of numbers of heads and of pairs: first all, then whole ones of both drawn anew."""
    members = [np.flatnonzero(episodes == number) for number in np.unique(episodes)]
    generator = np.random.default_rng(seed)
    drawn = [
        measure(
            generator.integers(heads, size=heads),
            np.concatenate([members[number] for number in generator.integers(len(members), size=len(members))]),
        )
        for _ in range(RESAMPLES)
    ]
    low, high = percentile_interval(drawn)
    return Estimate(value=measure(np.arange(heads), np.arange(len(episodes))), low=low, high=high)


def _spearman(predicted: np.ndarray, steps: np.ndarray) -> float:
    """Rank correlation; 0 where either is constant."""
    ranks = rankdata(predicted), rankdata(steps)
    if min(rank.std() for rank in ranks) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def _auroc(predicted: np.ndarray, beyond: np.ndarray) -> float:
    """Chance that a pair beyond is predicted farther than one within, ties counted half; 0.5 if either is missing."""
    far, near = int(beyond.sum()), int(np.sum(~beyond))
    if not far or not near:
        return 0.5
    return float((rankdata(predicted)[beyond].sum() - far * (far + 1) / 2) / (far * near))
