"""Figures of planning: success beside chance, and over time."""

import numpy as np
from matplotlib.axes import Axes

from lewm_cli.evaluate import EvalResult, GroupResult
from lewm_cli.report.numbers import percent
from lewm_cli.report.page.figures.style import (
    BASELINE,
    INK,
    MODEL,
    MUTED,
    THIRD,
    Drawing,
    finish,
    label_ends,
    new_figure,
)
from lewm_cli.statistics import Rate

LINE_HEIGHT = 0.19
"""Inches."""


def draw_planning(result: EvalResult) -> list[Drawing]:
    """Success beside chance in every group of pairs, and success over time."""
    return [_rates(result), _reached(result)]


def _rates(result: EvalResult) -> Drawing:
    groups = (result.overall, *result.groups)
    blocks = [_lines(group) for group in groups]
    lines = sum(len(block) + 1.6 for block in blocks)
    figure, axes = new_figure(LINE_HEIGHT * lines + 0.55)
    y = 0.0
    for group, block in zip(groups, blocks, strict=True):
        name = "all pairs" if group.name == "all" else group.name
        axes.text(0, y, f"{name}, n = {group.pairs}", color=INK, va="center", fontweight="bold")
        for label, rate, color in block:
            y -= 1
            _rate(axes, y, rate, color)
            axes.text(104, y, f"{label} {percent(rate.rate)}", color=color if color != BASELINE else MUTED, va="center")
        y -= 1.6
    axes.set_ylim(y + 0.9, 0.7)
    axes.set_xlim(-1.5, 101.5)
    axes.set_yticks([])
    axes.set_xticks(range(0, 101, 25))
    axes.grid(axis="x", visible=True)
    axes.set_xlabel("pairs whose goal was reached (%), 95% intervals", loc="left")
    overall = result.overall
    chance = f"random actions {percent(overall.random.rate)}"
    return finish(figure, "success", f"Planning reaches {percent(overall.success.rate)} of the goals, {chance}")


def _lines(group: GroupResult) -> list[tuple[str, Rate, str]]:
    lines = [("planning", group.success, MODEL)]
    if group.route_valid:
        lines.append(("clear of walls", group.route_valid, THIRD))
    return [*lines, ("random", group.random, BASELINE)]


def _rate(axes: Axes, y: float, rate: Rate, color: str) -> None:
    axes.plot([100 * rate.low, 100 * rate.high], [y, y], color=color, lw=2.4, alpha=0.45)
    axes.plot([100 * rate.rate], [y], "o", color=color, ms=5.5, mew=0)


def _reached(result: EvalResult) -> Drawing:
    budget = result.protocol.budget
    hits = np.array([one.first_hit for one in result.episodes if one.success and one.first_hit is not None])
    steps = np.arange(budget + 1)
    share = np.array([np.count_nonzero(hits <= step) for step in steps]) / max(1, len(result.episodes))
    figure, axes = new_figure()
    axes.fill_between(steps, 0, 100 * share, step="post", color=MODEL, alpha=0.1, lw=0)
    axes.step(steps, 100 * share, where="post", color=MODEL)
    chance = 100 * result.overall.random.rate
    axes.axhline(chance, color=BASELINE, lw=1, dashes=(3, 3))
    axes.set_xlim(0, budget)
    axes.set_ylim(0, 103)
    axes.set_yticks(range(0, 101, 25))
    axes.set_title("pairs whose goal was reached (%)")
    axes.set_xlabel("environment steps since the start", loc="left")
    label_ends(axes, [(100 * share[-1], "planning", MODEL), (chance, f"random,\nafter {budget}", MUTED)])
    half = np.flatnonzero(share >= 0.5)
    title = f"{percent(share[-1])} of the goals are reached within {budget} environment steps"
    if len(half) and half[0] > 0:
        title = f"Half of the goals are reached within {half[0]} environment steps"
    return finish(figure, "reached", title)
