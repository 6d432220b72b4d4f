"""Draws the latent space of a run: its spectrum and shape, what near means in it, the way through it, and maps."""

import numpy as np

from lewm_cli.heads import LatentMap
from lewm_cli.latent import ENCODERS, Encoder, LatentResult
from lewm_cli.latent.latent_result import MapQuantity
from lewm_cli.report.numbers import decimals, percent
from lewm_cli.report.page.figures import color_scale
from lewm_cli.report.page.style import (
    BASELINE,
    INK,
    LEVEL_COLORS,
    LEVELS,
    MODEL,
    MUTED,
    Drawing,
    dots,
    finish,
    label_ends,
    log_axis,
    log_limits,
    mark_interval,
    new_figure,
)

COLORS: dict[Encoder, tuple[str, str]] = {"model": (MODEL, MODEL), "untrained": (BASELINE, MUTED)}
"""Of lines and of words."""

COLORED = 6
"""Quantities that maps are colored by, at most."""


def draw_latent(result: LatentResult) -> list[Drawing]:
    """Everything but the maps."""
    model = result.scores["model"]
    drawings = [_spectrum(result)]
    if model.gaussianity:
        drawings.append(_quantiles(result))
    if model.straightness:
        drawings.append(_straightness(result))
    if model.distances:
        drawings.append(_distances(result))
        if model.distances.by_time:
            drawings.append(_in_time(result))
    return drawings


def _spectrum(result: LatentResult) -> Drawing:
    curves = {}
    for encoder in ENCODERS:
        eigenvalues = np.array(result.scores[encoder].spectrum.eigenvalues)
        curves[encoder] = np.maximum(eigenvalues / max(eigenvalues.sum(), 1e-30), 1e-9)
    figure, axes = new_figure()
    count = len(curves["model"])
    for encoder, shares in reversed(curves.items()):
        axes.plot(np.arange(1, count + 1), shares, color=COLORS[encoder][0], marker="o" if count < 20 else "", ms=4)
    axes.set_xlim(0.5, count + 0.5)
    axes.set_ylim(*log_limits(np.concatenate(list(curves.values()))))
    log_axis(axes)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title("share of the variance (log scale)")
    axes.set_xlabel("principal component", loc="left")
    label_ends(axes, [(shares[-1], encoder, COLORS[encoder][1]) for encoder, shares in curves.items()])
    rank, floor = (decimals(result.scores[one].spectrum.effective_rank, 1) for one in ENCODERS)
    return finish(figure, "spectrum", f"Latents spread over {rank} of {count} directions, untrained over {floor}")


def _quantiles(result: LatentResult) -> Drawing:
    figure, axes = new_figure(3.1)
    axes.plot([-3, 3], [-3, 3], color=INK, lw=0.9, dashes=(3, 3))
    highest, ends = 3.0, []
    for encoder in reversed(ENCODERS):
        bands = result.scores[encoder].gaussianity.quantiles
        places = [band.gaussian for band in bands]
        low, median, high = np.array([[band.low, band.median, band.high] for band in bands]).T
        axes.fill_between(places, low, high, color=COLORS[encoder][0], alpha=0.16, lw=0)
        axes.plot(places, median, color=COLORS[encoder][0])
        highest = max(highest, float(np.abs([low, high]).max()))
        ends.append((median[-1], encoder, COLORS[encoder][1]))
    axes.set_xlim(-3, 3)
    axes.set_ylim(-1.05 * highest, 1.05 * highest)
    axes.grid(axis="x", visible=True)
    axes.set_title("quantile along random directions, middle 90%")
    axes.set_xlabel("quantile of a Gaussian", loc="left")
    label_ends(axes, ends)
    own, other = (decimals(result.scores[one].gaussianity.shape, 2) for one in ENCODERS)
    null = decimals(result.gaussian.shape, 2)
    title = f"Random directions: Epps-Pulley {own}, untrained {other}, Gaussian {null}"
    return finish(figure, "quantiles", title)


def _straightness(result: LatentResult) -> Drawing:
    known = {one: found for one in ENCODERS if (found := result.scores[one].straightness)}
    figure, axes = new_figure(1.6)
    for row, (encoder, found) in enumerate(known.items()):
        line, words = COLORS[encoder]
        mark_interval(axes, -row, found.low, found.value, found.high, line)
        text = decimals(found.value, 2)
        axes.text(1.03, -row, text, color=words, transform=axes.get_yaxis_transform(), va="center")
    for place in (0, 1):
        axes.axvline(place, color=BASELINE, lw=1, dashes=(3, 3))
    axes.set_yticks([-row for row in range(len(known))], list(known))
    axes.set_ylim(0.6 - len(known), 0.6)
    axes.set_xlim(min(-0.55, *(found.low - 0.05 for found in known.values())), 1.03)
    axes.set_xticks([-0.5, 0, 0.5, 1], ["\N{MINUS SIGN}0.5\nindependent", "0\nrandom walk", "0.5", "1\nline"])
    axes.grid(axis="y", visible=False)
    axes.set_title("cosine of successive latent steps")
    values = [decimals(found.value, 2) for found in known.values()]
    beside = f", untrained {values[1]}" if len(values) > 1 else ""
    return finish(figure, "straightness", f"Paths have a straightness of {values[0]}{beside}")


def _distances(result: LatentResult) -> Drawing:
    unit = result.true_distance.unit
    figure, axes = new_figure()
    ends, highest = [], 0.0
    for encoder in reversed(ENCODERS):
        bins = result.scores[encoder].distances.by_distance
        middle = [(one.low + one.high) / 2 for one in bins]
        quartiles = np.array([[one.latent_low, one.latent_median, one.latent_high] for one in bins])
        low, median, high = (quartiles / max(float(np.median(quartiles[:, 1])), 1e-30)).T
        axes.fill_between(middle, low, high, color=COLORS[encoder][0], alpha=0.16, lw=0)
        axes.plot(middle, median, color=COLORS[encoder][0], marker="o", ms=3)
        ends.append((median[-1], encoder, COLORS[encoder][1]))
        highest = max(highest, float(high.max()))
    axes.set_xlim(0, result.scores["model"].distances.by_distance[-1].high)
    axes.set_ylim(0, 1.08 * highest)
    axes.set_title("latent distance (1 is the median), quartiles")
    axes.set_xlabel(f"true distance ({unit})", loc="left")
    label_ends(axes, ends)
    own, other = (decimals(result.scores[one].distances.correlation.value, 2) for one in ENCODERS)
    title = f"Latent and true distance have a rank correlation of {own}, untrained {other}"
    return finish(figure, "distances", title)


def _in_time(result: LatentResult) -> Drawing:
    figure, axes = new_figure()
    ends = []
    for encoder in reversed(ENCODERS):
        bins = result.scores[encoder].distances.by_time
        values = np.array([np.nan if one.correlation is None else one.correlation for one in bins])
        axes.plot(np.arange(len(bins)), values, color=COLORS[encoder][0], marker="o", ms=4)
        if np.isfinite(values).any():
            ends.append((values[np.isfinite(values)][-1], encoder, COLORS[encoder][1]))
    labels = [f"{one.low:g}" if one.low == one.high else f"{one.low:g} to {one.high:g}" for one in bins]
    axes.set_xticks(np.arange(len(bins)), labels)
    axes.set_ylim(min(-0.05, axes.get_ylim()[0]), 1.03)
    axes.set_title("rank correlation of latent and true distance")
    axes.set_xlabel("model steps between two frames of an episode", loc="left")
    if ends:
        label_ends(axes, ends)
    near = result.scores["model"].distances.by_time[0]
    said = "is not defined" if near.correlation is None else f"is {decimals(near.correlation, 2)}"
    return finish(figure, "in-time", f"One step apart, the correlation {said}")


def draw_maps(result: LatentResult) -> list[Drawing]:
    """The maps, once per quantity; uncolored where none is known."""
    colorings: list[MapQuantity | None] = [*result.quantities[:COLORED]] or [None]
    return [
        _map(one, coloring, f"{one.method.lower()}-{k}") for one in result.maps for k, coloring in enumerate(colorings)
    ]


def _map(one: LatentMap, coloring: MapQuantity | None, key: str) -> Drawing:
    places = one.points.array()
    figure, axes = new_figure(3.1)
    if coloring is None:
        dots(axes, *places.T, MODEL, size=2.6, alpha=0.7)
    else:
        values = np.array(coloring.values)
        low, high = float(values.min()), float(values.max())
        levels = np.clip(((values - low) / ((high - low) or 1.0) * LEVELS).astype(int), 0, LEVELS - 1)
        for level in range(LEVELS):
            dots(axes, *places[levels == level].T, LEVEL_COLORS[level], size=3.2, alpha=0.9)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.05)
    axes.autoscale_view()
    axes.grid(axis="x", visible=True)
    if one.shares:
        axes.set_xlabel(f"principal component 1 ({percent(one.shares[0], 0)} of variance)", loc="left")
        axes.set_ylabel(f"component 2 ({percent(one.shares[1], 0)} of variance)")
    else:
        axes.set_xticklabels([])
        axes.set_yticklabels([])
    name = "the frames"
    if coloring is not None:
        name = coloring.name
        color_scale(axes, low, high, f"{name} ({coloring.unit})" if coloring.unit else name)
    return finish(figure, f"latent-{key}", f"{one.method} of {len(places):,} latents, colored by {name}")
