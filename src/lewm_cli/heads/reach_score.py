"""Scores of predicted distances in time, with intervals over episodes."""

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


def score_reach(predicted: np.ndarray, steps: np.ndarray, episodes: np.ndarray, within: int, seed: int) -> ReachScore:
    """Compares the distances that one head or several predict with the truth; the scores are means over heads.

    Args:
        predicted: (H, P) larger is farther, in any unit.
        steps: (P,) environment steps that pairs are apart.
        episodes: (P,) of each pair; whole episodes and whole heads are drawn anew for the intervals.
        within: environment steps up to which a pair counts as within the planner's horizon.
        seed: of the bootstrap.
    """
    members = [np.flatnonzero(episodes == number) for number in np.unique(episodes)]
    generator = np.random.default_rng(seed)
    resamples = [
        (
            predicted[generator.integers(len(predicted), size=len(predicted))],
            np.concatenate([members[number] for number in generator.integers(len(members), size=len(members))]),
        )
        for _ in range(RESAMPLES)
    ]

    def estimate(measure: Callable[[np.ndarray, np.ndarray], float]) -> Estimate:
        def mean(heads: np.ndarray, pairs: np.ndarray) -> float:
            return float(np.mean([measure(head[pairs], steps[pairs]) for head in heads]))

        low, high = percentile_interval([mean(*resample) for resample in resamples])
        return Estimate(value=mean(predicted, np.arange(len(steps))), low=low, high=high)

    return ReachScore(
        correlation=estimate(spearman), auroc=estimate(lambda ranked, steps: auroc(ranked, steps > within))
    )


def spearman(predicted: np.ndarray, steps: np.ndarray) -> float:
    """Rank correlation; 0 where either is constant."""
    ranks = rankdata(predicted), rankdata(steps)
    if min(rank.std() for rank in ranks) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def auroc(predicted: np.ndarray, beyond: np.ndarray) -> float:
    """Chance that a pair beyond is predicted farther than one within, ties counted half; 0.5 if either is missing."""
    far, near = int(beyond.sum()), int(np.sum(~beyond))
    if not far or not near:
        return 0.5
    return float((rankdata(predicted)[beyond].sum() - far * (far + 1) / 2) / (far * near))
