"""Curves of trainings laid over each other, as a picture."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lewm_cli.files import atomic_path
from lewm_cli.report.page.style import light_colors, log_axis, log_limits, picture_style
from lewm_cli.report.training_plot import REFERENCE, Line, Panel, TrainingPlot

WIDTH, HEIGHT, DPI = 4.6, 2.7, 160
"""Inches of a panel, and pixels per inch."""

COLORS = ("model", "other", "third", "ink", "baseline")
"""Colors of runs, by the names of the page's style sheet; more runs than these get shades of one color map."""

FEW_POINTS = 3
"""A line of fewer is drawn as points too."""


def save_picture(plot: TrainingPlot) -> None:
    """Draw every panel of a plot into its file, in one step; raises LewmError if it cannot be written."""
    panels = plot.panels
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with picture_style():
        figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows + 0.5), dpi=DPI, layout="constrained")
        figure.get_layout_engine().set(wspace=0.06, hspace=0.06)
        places = figure.subplots(rows, columns, squeeze=False).ravel()
        colors = run_colors(len(plot.runs))
        for axes, panel in zip(places, panels, strict=False):
            _draw(axes, panel, plot, colors)
        for axes in places[len(panels) :]:
            axes.set_axis_off()
        runs = [Line2D([], [], color=color, label=run.name) for run, color in zip(plot.runs, colors, strict=True)]
        kinds = _kinds([line for panel in panels for line in panel.lines])
        for place, handles in (("outside upper left", runs), ("outside lower left", kinds)):
            if handles:
                look = {"frameon": False, "handlelength": 2.2, "labelcolor": light_colors()["ink"]}
                figure.legend(handles=handles, loc=place, ncols=2 * columns, **look)
        with atomic_path(plot.path) as part, part.open("wb") as file:
            figure.savefig(file, format=plot.path.suffix[1:].lower())


def run_colors(runs: int) -> list[str]:
    """A color for each run, hex."""
    light = light_colors()
    if runs <= len(COLORS):
        return [light[name] for name in COLORS[:runs]]
    return [to_hex(colormaps["viridis"](0.9 * k / (runs - 1))) for k in range(runs)]


def _draw(axes: Axes, panel: Panel, plot: TrainingPlot, colors: list[str]) -> None:
    last = max(line.x(plot.axis)[-1] for line in panel.lines)
    unit, size = _unit(last) if plot.axis == "time" else ("", 1.0)
    for line in panel.lines:
        x = [place / size for place in line.x(plot.axis)]
        marker = "o" if len(x) < FEW_POINTS else ""
        axes.plot(x, line.curve.values, color=colors[line.run], marker=marker, ms=3, **_look(line))
    axes.set_title(panel.title)
    axes.set_xlim(0, 1.01 * last / size or 1)  # so that the last marker is whole
    axes.set_xlabel(f"training time ({unit})" if unit else "optimizer step", loc="left")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    axes.xaxis.get_major_locator().set_params(nbins=5)
    if panel.log:
        values = [value for line in panel.lines for value in line.curve.values]
        axes.set_ylim(*log_limits(np.array(values)))
        log_axis(axes)


def _look(line: Line) -> dict:
    if line.name == REFERENCE:
        return {"dashes": (1, 1.5), "lw": 1.2, "alpha": 0.7}
    return {"dashes": (4, 1.5)} if line.held_out else {"lw": 1.4}


def _kinds(lines: list[Line]) -> list[Line2D]:
    """Samples of solid, dashed and dotted lines with what they are, if there are several kinds."""
    gray = {"color": light_colors()["muted"]}
    kinds = {}
    for line in lines:
        name = "training" if line.name.startswith("train/") else "held out" if line.held_out else ""
        name = "copying the last latent" if line.name == REFERENCE else name
        if name and name not in kinds:
            kinds[name] = Line2D([], [], label=name, **gray, **_look(line))
    return list(kinds.values()) if len(kinds) > 1 else []


def _unit(seconds: float) -> tuple[str, float]:
    return ("s", 1.0) if seconds < 600 else ("min", 60.0) if seconds < 7200 else ("h", 3600.0)
