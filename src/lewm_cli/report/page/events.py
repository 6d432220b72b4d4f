"""A perturbation in words."""

from dataclasses import dataclass

import numpy as np

from lewm_cli.report.page.figures import Drawing, draw_perturbation
from lewm_cli.report.page.names import what_happens
from lewm_cli.report.page.numbers import decimals, listed, times
from lewm_cli.report.surprising import DETECTOR_TITLES
from lewm_cli.surprise import PerturbationResult

SEEN_AUROC = 0.9
"""From here on a detector is said to see the change."""


@dataclass(frozen=True)
class EventView:
    """A perturbation, ready for the page.

    Args:
        result: what was measured.
        drawings: its figures.
        happens: what the event is, as a clause.
        size: median size of the change; None without episodes.
        remark: how much of it is seen without a trained model.
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
    simple = {detector: score for detector, score in result.scores.items() if detector != "model"}
    if not simple:
        return ""
    seeing = [
        f"{DETECTOR_TITLES[detector]} (AUROC {decimals(score.auroc, 2)})"
        for detector, score in simple.items()
        if score.auroc >= SEEN_AUROC
    ]
    remark = f"Nothing but the trained model tells it clearly (AUROC of {SEEN_AUROC} or more)."
    if seeing:
        remark = f"A jump alone proves little: it is told without a trained model too, by {listed(seeing)}."
    if "model" in result.scores and result.scores["model"].after >= 2:
        remark += (
            f" Here the model's surprise does not go back: over the steps after the event it stays at "
            f"{times(result.scores['model'].after)} the untouched."
        )
    return remark
