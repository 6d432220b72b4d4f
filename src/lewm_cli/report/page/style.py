"""The look of all figures.

They are drawn once for both themes: with stand-in colors, which become variables of the page's style sheet in the
finished SVG. Text stays text, in the page's font.
"""

import io
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from xml.etree import ElementTree

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import LogLocator, NullLocator

from lewm_cli.report.numbers import TIMES, number, power_of_ten

WIDTH = 3.9
"""Inches. On a phone 350 pixels wide, 9 points become 11 pixels."""

TEXT = 9

ROLES = ("ink", "muted", "line", "model", "other", "baseline", "event", "third")
INK, MUTED, LINE, MODEL, OTHER, BASELINE, EVENT, THIRD = (f"#0100{k:02x}" for k in range(len(ROLES)))
"""Stand-ins. `model` is what the run itself does, `baseline` what it is compared with."""

LEVELS = 16
LEVEL_COLORS = tuple(f"#0200{k:02x}" for k in range(LEVELS))
"""Stand-ins for the steps of a perceptual color map, which leaves out what its theme's background swallows."""

VARIABLES = {f"#0100{k:02x}": role for k, role in enumerate(ROLES)}
VARIABLES |= {color: f"level-{k}" for k, color in enumerate(LEVEL_COLORS)}
"""The page's style variable for each stand-in."""

SETTINGS = {
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), TEXT),
    **dict.fromkeys(("axes.titlecolor", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), MUTED),
    **dict.fromkeys(("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"), LINE),
    **dict.fromkeys(("axes.facecolor", "figure.facecolor", "svg.fonttype"), "none"),
    **dict.fromkeys(("axes.spines.left", "axes.spines.right", "axes.spines.top", "text.parse_math"), False),
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.axisbelow": True,
    "text.color": INK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.linewidth": 0.7,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.size": 3,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}
"""Settings that differ from those of matplotlib."""


@dataclass(frozen=True)
class Drawing:
    """A figure for the page: what it shows in one sentence, and the picture."""

    title: str
    svg: Markup


@contextmanager
def house_style() -> Iterator[None]:
    """Figures are drawn in here, untouched by the user's matplotlib settings."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def light_colors() -> dict[str, str]:
    """The colors of the page's light theme by the names of their variables, hex."""
    style = (resources.files("lewm_cli.report.page") / "page.css").read_text(encoding="utf-8")
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", style[: style.index("@media")]))


@contextmanager
def picture_style() -> Iterator[None]:
    """The house style for pictures made of pixels, which have colors of their own: those of the light theme."""
    light = light_colors()
    colors = {stand_in: light.get(name) for stand_in, name in VARIABLES.items()}
    with house_style():
        matplotlib.rcParams.update({key: colors.get(value) or value for key, value in SETTINGS.items()})
        matplotlib.rcParams["figure.facecolor"] = light["card"]
        yield


def new_figure(height: float = 2.7) -> tuple[Figure, Axes]:
    """One pair of axes on a small figure, inches high."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02)
    return figure, figure.subplots()


def finish(figure: Figure, key: str, title: str) -> Drawing:
    """Turn a figure drawn under `house_style` into a drawing; ids inside begin with its key, unique on the page."""
    matplotlib.rcParams["svg.hashsalt"] = key  # restored by `house_style`; ids come out the same every time
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return Drawing(title, Markup(_inlined(buffer.getvalue(), key, title)))


def mark_interval(axes: Axes, y: float, low: float, value: float, high: float, color: str) -> None:
    """Draw a value at a height as a dot, and its interval as a pale line."""
    axes.plot([low, high], [y, y], color=color, lw=2.4, alpha=0.45)
    axes.plot([value], [y], "o", color=color, ms=5.5, mew=0)


def label_ends(axes: Axes, labels: list[tuple[float, str, str]]) -> None:
    """Name lines at their right ends, in the margin, apart from each other; final limits must be set.

    Args:
        axes: with the lines.
        labels: data y, text, color.
    """
    line = TEXT * 1.35 / (72 * axes.figure.get_figheight() * 0.74)
    place = axes.transScale + axes.transLimits
    ends = sorted((float(place.transform((1, y))[1]), text, color) for y, text, color in labels)
    heights = [line * (text.count("\n") + 1) for _, text, _ in ends]
    spots = [wanted for wanted, _, _ in ends]
    for k in range(1, len(spots)):
        spots[k] = max(spots[k], spots[k - 1] + (heights[k - 1] + heights[k]) / 2)
    spots[-1] = min(spots[-1], 1.0)
    for k in reversed(range(len(spots) - 1)):
        spots[k] = min(spots[k], spots[k + 1] - (heights[k] + heights[k + 1]) / 2)
    for y, (_, text, color) in zip(spots, ends, strict=True):
        axes.text(1.02, y, text, color=color, transform=axes.transAxes, va="center", linespacing=1.15)


def log_axis(axes: Axes, which: str = "y") -> None:
    """A logarithmic axis with plain numbers; final limits must be set."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.yaxis if which == "y" else axes.xaxis
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if np.log10(high / low) > 1.7 else (1.0, 2.0, 5.0), numticks=7))
    axis.set_major_formatter(lambda value, _: _plain(value))
    axis.set_minor_locator(NullLocator())


def log_limits(values: np.ndarray, room: float = 0.08) -> tuple[float, float]:
    """Limits around positive values, with a share of their range as room."""
    logs = np.log10(values[values > 0]) if (values > 0).any() else np.zeros(1)
    low, high = logs.min(), logs.max()
    pad = max(0.1, room * (high - low))
    return float(10 ** (low - pad)), float(10 ** (high + pad))


def dots(axes: Axes, x: np.ndarray, y: np.ndarray, color: str, *, size: float = 2.6, alpha: float = 1.0) -> None:
    """Many points of one color as one path of round line caps: a tenth of the bytes of as many markers."""
    if len(x) == 0:
        return
    points = np.repeat(np.stack([x, y], axis=1), 2, axis=0)
    path = Path(points, np.tile([Path.MOVETO, Path.LINETO], len(x)))
    path.should_simplify = False
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=color, lw=size, capstyle="round", alpha=alpha))
    axes.update_datalim(points)


def level_colors(dark: bool) -> list[str]:
    """The color map's steps for one theme, hex."""
    reach = (0.22, 1.0) if dark else (0.0, 0.88)
    return [to_hex(colormaps["viridis"](position)) for position in np.linspace(*reach, LEVELS)]


def _plain(value: float) -> str:
    exponent = math.floor(math.log10(value) + 1e-9)
    lead = round(value / 10**exponent, 1)  # ticks of a short axis lie between whole ones
    if -4 <= exponent <= 5:
        return number(value, 1 if lead.is_integer() else 2)
    return power_of_ten(exponent) if lead == 1 else f"{lead:g} {TIMES} {power_of_ten(exponent)}"


def _inlined(svg: str, key: str, title: str) -> str:
    """Makes the SVG that matplotlib wrote a part of a page: with ids of its own, the page's font and its colors."""
    root = ElementTree.fromstring(svg)
    root.remove(root.find("{*}metadata"))
    root.attrib = {"class": "figure", "viewBox": root.attrib["viewBox"], "role": "img", "aria-label": title}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]  # HTML knows no namespaces
        if not (element.text or "").strip():
            element.text = None
        element.tail = None
        if element is not root:
            element.attrib = {name.rpartition("}")[2]: _tidied(value) for name, value in element.attrib.items()}
        for name, before in (("id", ""), ("href", "#"), ("clip-path", "url(#")):
            if name in element.attrib:
                element.set(name, element.attrib[name].replace(before, f"{before}{key}-", 1))
    text = ElementTree.tostring(root, encoding="unicode")
    for stand_in, variable in VARIABLES.items():
        text = text.replace(stand_in, f"var(--{variable})")
    return text


def _tidied(value: str) -> str:
    """Leaves the font to the page, and shortens numbers."""
    value = re.sub(r"font-family: [^;]*;\s*", "", value)
    return re.sub(r"-?\d+\.\d{3,}", lambda digits: f"{float(digits[0]):.2f}", value)
