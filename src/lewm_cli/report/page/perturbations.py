"""Surprise for the page: perturbations in words, and the highest peaks."""

from dataclasses import dataclass

import numpy as np

from lewm_cli.report.numbers import decimals, listed, times
from lewm_cli.report.page.figures import Drawing, draw_perturbation
from lewm_cli.report.summary import what_happens
from lewm_cli.report.surprising import DETECTOR_TITLES
from lewm_cli.surprise import PerturbationResult, SurpriseResult

SEEN_AUROC = 0.9
"""A detector of so much tells the change."""

LISTED = 5
"""Episodes listed by their peaks."""

STAYING_SHARE = 0.1
"""Share of the jump; surprise that keeps more than this stays."""


@dataclass(frozen=True)
class EventView:
    """A perturbation, ready for the page.

    Args:
        result: what was measured.
        drawings: its figures.
        happens: what the event is, as a clause.
        size: median size of the change; None without episodes.
        remark: what simpler detectors tell of it, and what happens after it.
    """

    result: PerturbationResult
    drawings: list[Drawing]
    happens: str
    size: float | None
    remark: str


def event_view(result: PerturbationResult, key: str) -> EventView:
    """Prepare a perturbation; `key` is unique on the page. Called under `house_style`."""
    sizes = [one.size for one in result.episodes]
    size = float(np.median(sizes)) if sizes else None
    return EventView(result, draw_perturbation(result, key), what_happens(result), size, _remark(result))


def _remark(result: PerturbationResult) -> str:
    simpler = {detector: score for detector, score in result.scores.items() if detector != "model"}
    if not simpler:
        return ""
    seeing = [
        f"{DETECTOR_TITLES[detector]} (AUROC {decimals(score.auroc, 2)})"
        for detector, score in simpler.items()
        if score.auroc >= SEEN_AUROC
    ]
    remark = f"No simpler detector tells it clearly (AUROC of {SEEN_AUROC} or more)."
    if seeing:
        remark = f"A jump alone proves little, since simpler detectors tell it too: {listed(seeing)}."
    if "model" in result.scores:
        score = result.scores["model"]
        stays = score.after - 1 >= STAYING_SHARE * (score.ratio - 1)
        then = "is" if score.ratio_low <= 1 else "stays at" if stays else "falls back to"
        remark += f" Over the steps after the event the model's surprise {then} {times(score.after)} the untouched."
    return remark


@dataclass(frozen=True)
class Peak:
    """The highest surprise of an episode.

    Args:
        episode: its number.
        step: environment steps after its start.
        surprise: the value there.
    """

    episode: int
    step: int
    surprise: float


def highest_peaks(result: SurpriseResult) -> list[Peak]:
    """The episodes with the highest peaks, the highest first."""
    peaks = []
    for episode in result.episodes:
        known = [(value, k) for k, value in enumerate(episode.curves["model"]) if value is not None]
        if known:
            value, k = max(known)
            peaks.append(Peak(episode.episode, (k + 1) * result.frameskip, value))
    return sorted(peaks, key=lambda peak: -peak.surprise)[:LISTED]
