"""Differences between evaluations of the same pairs, with their intervals."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from lewm_cli.evaluate import PairedComparison
from lewm_cli.report.numbers import brackets, decimals
from lewm_cli.report.page.figures.style import BASELINE, INK, MODEL, MUTED, OTHER, Drawing, finish, new_figure
from lewm_cli.statistics import Difference

LINE_HEIGHT = 0.19
"""Inches."""

Line = tuple[str, Difference]


def draw_comparison(comparison: PairedComparison) -> list[Drawing]:
    """Every result against the baseline, and every result against random actions."""
    against = [(one.name, one.above_baseline) for one in comparison.results[1:]]
    random = [(one.name, one.above_random) for one in comparison.results]
    baseline = comparison.baseline.name
    return [
        _forest(f"Success compared with {baseline}, on the same {comparison.pairs} pairs", "baseline", against, MODEL),
        _forest("Success compared with random actions", "random", random, OTHER),
    ]


def _forest(title: str, key: str, lines: Sequence[Line], color: str) -> Drawing:
    figure, axes = new_figure(LINE_HEIGHT * 2.6 * len(lines) + 0.6)
    for row, (name, difference) in enumerate(lines):
        _difference(axes, -2.6 * row, name, difference, color)
    low = min(0.0, *(100 * difference.low for _, difference in lines))
    high = max(0.0, *(100 * difference.high for _, difference in lines))
    room = 0.04 * (high - low)
    axes.set_xlim(low - room, high + room)
    axes.set_ylim(-2.6 * len(lines) + 0.9, 0.8)
    axes.set_yticks([])
    axes.grid(axis="x", visible=True)
    axes.set_xlabel("percentage points, 95% intervals", loc="left")
    return finish(figure, f"above-{key}", title)


def _difference(axes: Axes, y: float, name: str, difference: Difference, color: str) -> None:
    """A name, and below it the interval with its numbers at the right."""
    shown = difference.low > 0 or difference.high < 0
    axes.text(0, y, name, transform=axes.get_yaxis_transform(), color=INK, va="center", fontweight="bold")
    y -= 1
    axes.plot([0, 0], [y - 0.7, y + 0.5], color=BASELINE, lw=1, dashes=(3, 2))  # not through the name
    axes.plot([100 * difference.low, 100 * difference.high], [y, y], color=color, lw=2.4, alpha=0.45)
    axes.plot([100 * difference.rate], [y], "o", color=color, ms=5.5, mew=0)
    text = f"{_points(difference.rate)} {brackets(_points(difference.low), _points(difference.high))}"
    axes.text(1.02, y, text, transform=axes.get_yaxis_transform(), color=color if shown else MUTED, va="center")


def _points(share: float) -> str:
    text = decimals(100 * share, 1)
    return f"+{text}" if share > 0 else text
