"""The result of `lewm surprise --perturb`: scores of the detectors, and curves of episodes laid over each other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import NonNegativeInt, PositiveInt
from scipy import stats

from lewm_cli.config import Section
from lewm_cli.statistics import holm, percentile_interval
from lewm_cli.store import Measurement
from lewm_cli.surprise.surprise_result import BesideRun, Curve, Detector

BEFORE, AFTER = 5, 8
"""Model steps shown before and after the event."""

RESAMPLES = 2000

LEAST = 1e-12
"""Stands for 0 where a ratio is taken: nothing moved between two frames."""


class DetectorScore(Section):
    """Scores of a detector that tells perturbed from untouched episodes; intervals are 95 % over episodes.

    An episode's value *at the event* is the mean over the model steps that the violation lasts: of a sudden one, one.
    `ratio` is the mean over episodes at the event, perturbed over untouched; `log_ratio` the mean natural logarithm of
    the ratio per episode; `after` the ratio over the later steps whose whole context lies behind the event. `t_test` is
    the p-value of a paired t-test of the values at the event (the paper's), `corrected` the same by Holm's method for
    all tests of one call, `wilcoxon` that of a signed-rank test. `auroc` is the share of pairs of one perturbed and one
    untouched episode in which the perturbed one scores higher at the event.
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
    corrected: float | None = None
    wilcoxon: float
    auroc: float

    def __str__(self) -> str:
        return f"{_short(self.ratio)} [{_short(self.ratio_low)}, {_short(self.ratio_high)}]"


class PerturbedEpisode(Section):
    """One episode simulated twice with the same actions, untouched and changed at an event.

    `event` is the index of the first value of the curves that sees the change; `size` that of the change, in the unit
    of the perturbation.
    """

    episode: int
    event: NonNegativeInt
    size: float
    difference: float | None = None
    """Mean squared difference between the two frames at the event, pixels from 0 to 1."""
    matched: float | None = None
    """That of the teleport, where the change was to be as large."""
    untouched: dict[Detector, Curve]
    perturbed: dict[Detector, Curve]


class PerturbationResult(Measurement):
    """Episodes with and without a violation of expectation, and scores of every detector that tells them apart."""

    perturbation: str
    size_unit: str
    """Unit of the episodes' `size`."""
    lasts: PositiveInt = 1
    """Model steps in which the violation is seen, from the event on."""
    frameskip: PositiveInt
    horizon: PositiveInt = 1
    """Model steps that are looked ahead."""
    seed: int
    beside: BesideRun | None = None
    tests: PositiveInt = 1
    """Tests of the call that the p-values are corrected for: every detector at every perturbation."""
    scores: dict[Detector, DetectorScore]
    episodes: tuple[PerturbedEpisode, ...]


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


def correct(results: Sequence[PerturbationResult]) -> tuple[PerturbationResult, ...]:
    """Corrects the p-values of the paired t-tests for all of them, by Holm's method."""
    names = [(k, detector) for k, one in enumerate(results) for detector in one.scores]
    p_values = dict(zip(names, holm([results[k].scores[detector].t_test for k, detector in names]), strict=True))

    def corrected(k: int) -> dict[Detector, DetectorScore]:
        scores = results[k].scores.items()
        return {name: score.model_copy(update={"corrected": p_values[k, name]}) for name, score in scores}

    made = ({"scores": corrected(k), "tests": len(names)} for k in range(len(results)))
    return tuple(one.model_copy(update=update) for one, update in zip(results, made, strict=True))


def _short(ratio: float) -> str:
    """Three digits; without an exponent where a table has no room for one; 0 where nothing moves any more."""
    if ratio < 1e-6:
        return "0"
    return f"{ratio:.0f}" if 999.5 <= ratio < 1e6 else f"{ratio:.3g}"


@dataclass(frozen=True)
class Band:
    """Values of a detector over episodes at one offset from the event.

    Args:
        offset: model steps from the event.
        episodes: number that reach so far.
        median, low, high: over episodes; low and high are the 10th and 90th percentile.
    """

    offset: int
    episodes: int
    median: float
    low: float
    high: float


def bands(curves: Iterable[tuple[Curve, int]]) -> list[Band]:
    """Aligns curves, each of them given with the index of its event, at their events."""
    aligned = list(curves)
    found = []
    for offset in range(-BEFORE, AFTER + 1):
        values = [curve[event + offset] for curve, event in aligned if 0 <= event + offset < len(curve)]
        known = [value for value in values if value is not None]
        if known:
            low, median, high = np.percentile(known, [10, 50, 90]).tolist()
            found.append(Band(offset, len(known), median, low, high))
    return found
