"""How well something tells how far frames are apart, with intervals over episodes."""

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

from lewm_cli.statistics import Clusters, Estimate, percentile_interval
from lewm_cli.store import ReachScore

RESAMPLES = 300


def score_reach(told: np.ndarray, steps: np.ndarray, episodes: np.ndarray, within: int, seed: int) -> ReachScore:
    """Compare what several heads tell, or one, with the truth; the scores are means over heads.

    Args:
        told: (H, P) larger is farther, in any unit.
        steps: (P,) environment steps that pairs are apart.
        episodes: (P,) of each pair; whole episodes and whole heads are drawn anew for the intervals.
        within: environment steps up to which a pair counts as within the planner's horizon.
        seed: of the bootstrap.
    """
    members = Clusters(episodes).members()
    generator = np.random.default_rng(seed)
    resamples = [
        (
            told[generator.integers(len(told), size=len(told))],
            np.concatenate([members[number] for number in generator.integers(len(members), size=len(members))]),
        )
        for _ in range(RESAMPLES)
    ]

    def estimate(measure: Callable[[np.ndarray, np.ndarray], float]) -> Estimate:
        def mean(heads: np.ndarray, pairs: np.ndarray) -> float:
            return float(np.mean([measure(head[pairs], steps[pairs]) for head in heads]))

        low, high = percentile_interval([mean(*resample) for resample in resamples])
        return Estimate(value=mean(told, np.arange(len(steps))), low=low, high=high)

    return ReachScore(correlation=estimate(spearman), auroc=estimate(lambda told, steps: auroc(told, steps > within)))


def spearman(told: np.ndarray, steps: np.ndarray) -> float:
    """Correlation of ranks; 0 where either is constant."""
    ranks = rankdata(told), rankdata(steps)
    if min(rank.std() for rank in ranks) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def auroc(told: np.ndarray, beyond: np.ndarray) -> float:
    """How often a pair beyond is told to be farther than one within, ties counted half; a half if there is but one."""
    far, near = int(beyond.sum()), int(np.sum(~beyond))
    if not far or not near:
        return 0.5
    return float((rankdata(told)[beyond].sum() - far * (far + 1) / 2) / (far * near))
