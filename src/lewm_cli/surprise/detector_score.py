"""Scores of a detector that tells perturbed from untouched episodes."""

import numpy as np
from scipy import stats

from lewm_cli.config import Section
from lewm_cli.statistics import percentile_interval

RESAMPLES = 2000

LEAST = 1e-12
"""Stands for 0 where a ratio is taken: nothing moved between two frames."""


class DetectorScore(Section):
    """Scores of a detector that tells perturbed from untouched episodes; intervals are 95 % over episodes.

    `ratio` is the mean over episodes at the event, perturbed over untouched; `log_ratio` the mean natural logarithm of
    the ratio per episode; `after` the ratio over the later steps whose whole context lies behind the event. `t_test` is
    the p-value of a paired t-test of the values at the event (the paper's), `wilcoxon` that of a signed-rank test.
    `auroc` is the share of pairs of one perturbed and one untouched episode in which the perturbed one scores higher at
    the event.
    """

    ratio: float
    ratio_low: float
    ratio_high: float
    log_ratio: float
    log_ratio_low: float
    log_ratio_high: float
    after: float
    after_low: float
    after_high: float
    t_test: float
    wilcoxon: float
    auroc: float

    def __str__(self) -> str:
        return f"{_short(self.ratio)} [{_short(self.ratio_low)}, {_short(self.ratio_high)}]"


def score_detector(
    untouched: np.ndarray, perturbed: np.ndarray, untouched_after: np.ndarray, perturbed_after: np.ndarray, seed: int
) -> DetectorScore:
    """Compares one detector's values over the same N episodes.

    Args:
        untouched, perturbed: (N,) at the event.
        untouched_after, perturbed_after: (N,) means over the steps after it.
        seed: of the bootstrap over episodes.
    """
    untouched, perturbed, untouched_after, perturbed_after = (
        np.maximum(values, LEAST) for values in (untouched, perturbed, untouched_after, perturbed_after)
    )
    episodes = len(untouched)
    drawn = np.random.default_rng(seed).integers(episodes, size=(RESAMPLES, episodes))

    def ratio(of: np.ndarray, to: np.ndarray) -> tuple[float, float, float]:
        low, high = percentile_interval(of[drawn].mean(axis=1) / to[drawn].mean(axis=1))
        return of.mean() / to.mean(), low, high

    at_event, after = ratio(perturbed, untouched), ratio(perturbed_after, untouched_after)
    logs = np.log(perturbed / untouched)
    half = stats.t.ppf(0.975, episodes - 1) * stats.sem(logs)
    changed = bool((perturbed != untouched).any())  # else there is nothing to test
    return DetectorScore(
        ratio=at_event[0],
        ratio_low=at_event[1],
        ratio_high=at_event[2],
        log_ratio=logs.mean(),
        log_ratio_low=logs.mean() - half,
        log_ratio_high=logs.mean() + half,
        after=after[0],
        after_low=after[1],
        after_high=after[2],
        t_test=stats.ttest_rel(perturbed, untouched).pvalue if changed else 1.0,
        wilcoxon=stats.wilcoxon(perturbed, untouched).pvalue if changed else 1.0,
        auroc=stats.mannwhitneyu(perturbed, untouched).statistic / episodes**2,
    )


def _short(ratio: float) -> str:
    """Three digits; without an exponent where a table has no room for one."""
    return f"{ratio:.0f}" if 999.5 <= ratio < 1e6 else f"{ratio:.3g}"
