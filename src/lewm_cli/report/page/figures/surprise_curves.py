"""Surprise along episodes as they were recorded, and around an event that should not happen."""

import numpy as np
from matplotlib.collections import LineCollection

from lewm_cli.report.numbers import number, times
from lewm_cli.report.page.figures.style import (
    BASELINE,
    EVENT,
    INK,
    MODEL,
    MUTED,
    Drawing,
    finish,
    label_ends,
    log_axis,
    log_limits,
    new_figure,
)
from lewm_cli.report.surprising import DETECTOR_TITLES
from lewm_cli.surprise import DETECTORS, Band, PerturbationResult, SurpriseResult, bands

SHOWN_EPISODES = 60
"""Thin lines; the median is over all episodes."""

FEWEST_EPISODES = 5
"""Fewer than these make no median, unless there are no more at all."""


def draw_surprise(result: SurpriseResult) -> list[Drawing]:
    """The model's surprise along recorded episodes."""
    curves = [_array(episode.curves["model"]) for episode in result.episodes if "model" in episode.curves]
    curves = [curve for curve in curves if np.isfinite(curve).any()]
    if not curves:
        return []
    longest = max(len(curve) for curve in curves)
    steps = result.frameskip * np.arange(1, longest + 1)
    table = np.full((len(curves), longest), np.nan)
    for row, curve in zip(table, curves, strict=True):
        row[: len(curve)] = np.where(curve > 0, curve, np.nan)  # nothing on a logarithmic axis
    enough = np.isfinite(table).sum(axis=0) >= min(FEWEST_EPISODES, len(curves))
    if not enough.any():
        return []
    median = np.nanmedian(table[:, enough], axis=0)
    shown = table[np.unique(np.linspace(0, len(table) - 1, SHOWN_EPISODES).round().astype(int))]
    figure, axes = new_figure()
    lines = [np.column_stack([steps, row])[np.isfinite(row)] for row in shown]
    axes.add_collection(LineCollection(lines, colors=BASELINE, linewidths=0.6, alpha=0.45))
    axes.plot(steps[enough], median, color=MODEL, marker="" if enough.sum() > 2 else "o")
    axes.set_xlim(steps[0], max(steps[-1], steps[0] + 1))
    axes.set_ylim(*log_limits(table[np.isfinite(table)], 0.03))
    log_axis(axes)
    axes.set_title("squared error of the predicted latent (log scale)")
    axes.set_xlabel("environment steps since the start", loc="left")
    label_ends(axes, [(median[-1], "median", MODEL), (np.nanmedian(shown[:, enough][:, -1]), "episodes", MUTED)])
    span = f"{number(float(median.min()), 2)} to {number(float(median.max()), 2)}"
    title = f"Along {len(curves)} recorded episodes the median surprise stays within {span}"
    return [finish(figure, "surprise", title)]


def draw_perturbation(result: PerturbationResult, key: str) -> list[Drawing]:
    """The model's surprise around the event, and how well every detector sees it."""
    drawings = []
    touched = bands((one.perturbed["model"], one.event) for one in result.episodes if "model" in one.perturbed)
    untouched = bands((one.untouched["model"], one.event) for one in result.episodes if "model" in one.untouched)
    if touched and untouched:
        drawings.append(_bands(result, touched, untouched, key))
    if result.scores:
        drawings.append(_ratios(result, key))
    return drawings


def _bands(result: PerturbationResult, touched: list[Band], untouched: list[Band], key: str) -> Drawing:
    figure, axes = new_figure()
    values = np.array([[band.low, band.high] for band in (*touched, *untouched)])
    axes.set_xlim(min(band.offset for band in touched), max(band.offset for band in touched))
    axes.set_ylim(*log_limits(values))
    log_axis(axes)
    floor = axes.get_ylim()[0]
    for found, color in ((untouched, MODEL), (touched, EVENT)):
        offsets = [band.offset for band in found]
        low, median, high = np.maximum(floor, [[band.low, band.median, band.high] for band in found]).T
        axes.fill_between(offsets, low, high, color=color, alpha=0.16, lw=0)
        axes.plot(offsets, median, color=color)
    axes.axvline(0, color=INK, lw=0.9, dashes=(3, 3))
    axes.annotate(
        result.perturbation,
        (0, 1),
        (4, -2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top",
        color=INK,
        fontweight="bold",
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title("squared error of the predicted latent (log scale)")
    axes.set_xlabel(f"model steps from the event (1 = {result.frameskip} environment steps)", loc="left")
    ends = [(max(floor, touched[-1].median), "changed", EVENT), (max(floor, untouched[-1].median), "untouched", MODEL)]
    label_ends(axes, ends)
    title = f"{result.perturbation.capitalize()}: surprise around the event"
    if "model" in result.scores:
        ratio = times(result.scores["model"].ratio)
        title = f"{result.perturbation.capitalize()}: at the event, surprise is {ratio} the untouched"
    return finish(figure, f"{key}-bands", title)


def _ratios(result: PerturbationResult, key: str) -> Drawing:
    known = [detector for detector in DETECTORS if detector in result.scores]
    scores = [result.scores[detector] for detector in known]
    figure, axes = new_figure(0.42 * len(known) + 0.95)
    reach = np.array([[score.ratio_low, score.ratio, score.ratio_high, 1.0] for score in scores])
    axes.set_xlim(*log_limits(reach, 0.06))
    log_axis(axes, "x")
    low = axes.get_xlim()[0]
    axes.axvline(1, color=BASELINE, lw=1, dashes=(3, 3))
    for k, (detector, score) in enumerate(zip(known, scores, strict=True)):
        color, words = (MODEL, MODEL) if detector == "model" else (BASELINE, MUTED)
        axes.plot(np.maximum(low, [score.ratio_low, score.ratio_high]), [-k, -k], color=color, lw=2.4, alpha=0.45)
        axes.plot([max(low, score.ratio)], [-k], "o", color=color, ms=5.5, mew=0)
        axes.text(1.03, -k, times(score.ratio), color=words, transform=axes.get_yaxis_transform(), va="center")
    axes.set_yticks([-k for k in range(len(known))], [DETECTOR_TITLES[detector] for detector in known])
    axes.set_ylim(0.6 - len(known), 0.6)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    axes.set_xlabel("changed over untouched (ratio, log scale)", loc="left")
    ratios = [f"{DETECTOR_TITLES[detector]} {times(result.scores[detector].ratio)}" for detector in known]
    title = f"{result.perturbation.capitalize()} at the event: {', '.join(ratios)}"
    return finish(figure, f"{key}-ratios", title)


def _array(curve: tuple[float | None, ...]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in curve], float)
