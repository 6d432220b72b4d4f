"""The latent space from above, colored by what is known about the world."""

import numpy as np
from matplotlib.axes import Axes

from lewm_cli.probe import ProbeResult
from lewm_cli.report.numbers import decimals, number, percent
from lewm_cli.report.page.figures.style import LEVEL_COLORS, LEVELS, MUTED, Drawing, dots, finish, new_figure

COLORED = 2
"""Quantities that the map is colored by."""


def draw_latent_map(result: ProbeResult) -> list[Drawing]:
    """The principal plane of latents, once per quantity."""
    if not result.points:
        return []
    places = np.array([point.map for point in result.points])
    actual = np.array([point.actual for point in result.points])
    episodes = np.array([point.episode for point in result.points])
    return [_map(result, places, actual[:, k], episodes, k) for k in range(min(COLORED, len(result.targets)))]


def _map(result: ProbeResult, places: np.ndarray, values: np.ndarray, episodes: np.ndarray, k: int) -> Drawing:
    target = result.targets[k]
    figure, axes = new_figure(3.1)
    low, high = float(values.min()), float(values.max())
    levels = np.clip(((values - low) / ((high - low) or 1.0) * LEVELS).astype(int), 0, LEVELS - 1)
    for level in range(LEVELS):
        dots(axes, *places[levels == level].T, LEVEL_COLORS[level], size=3.6, alpha=0.9)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.05)
    axes.autoscale_view()
    axes.set_xlabel(f"principal component 1 ({percent(result.map_explained[0], 0)} of variance)", loc="left")
    axes.set_ylabel(f"component 2 ({percent(result.map_explained[1], 0)} of variance)")
    axes.grid(axis="x", visible=True)
    unit = f" {target.unit}" if target.unit else ""
    _scale(axes, low, high, f"{target.name} ({target.unit})" if target.unit else target.name)
    near, far = _differences(places, values, episodes)
    title = f"Neighbors on the map differ by {near}{unit} in {target.name}, random pairs by {far}{unit}"
    return finish(figure, f"map-{k}", title)


def _scale(axes: Axes, low: float, high: float, name: str) -> None:
    """A color scale above the axes, its ends named."""
    scale = axes.inset_axes([0.56, 1.055, 0.34, 0.032])
    for level, color in enumerate(LEVEL_COLORS):
        scale.axvspan(level, level + 1, facecolor=color, edgecolor=color, lw=0.4)  # no seams
    scale.set_xlim(0, LEVELS)
    scale.set_axis_off()
    digits = 0 if high - low >= 20 else 2
    for x, words, side in (
        (0, name, "left"),
        (0.54, decimals(low, digits), "right"),
        (0.92, decimals(high, digits), "left"),
    ):
        axes.text(x, 1.071, words, transform=axes.transAxes, ha=side, va="center", color=MUTED)


def _differences(places: np.ndarray, values: np.ndarray, episodes: np.ndarray) -> tuple[str, str]:
    """Median difference of a quantity between nearest neighbors on the map, and between all pairs.

    Neighbors are looked for in other episodes: the next frame of the same one is near whatever the map is like.
    """
    apart = np.square(places[:, None] - places[None]).sum(axis=2)
    same = episodes[:, None] == episodes[None]
    apart[same if not same.all() else np.eye(len(values), dtype=bool)] = np.inf
    difference = np.abs(values[:, None] - values[None])
    near = np.median(difference[np.arange(len(values)), apart.argmin(axis=1)])
    far = np.median(difference[np.triu_indices(len(values), 1)]) if len(values) > 1 else 0.0
    return number(float(near), 2), number(float(far), 2)
