"""A map of latents as a picture: their first two principal components, colored by what the frames show."""

import io
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lewm_cli.report.numbers import percent
from lewm_cli.report.page.style import picture_style

SIDE, DPI = 3.4, 130
"""Inches of one map, and pixels per inch."""

COLORS = "viridis"


@dataclass(frozen=True)
class Coloring:
    """A quantity that maps are colored by.

    Args:
        name: with its unit.
        values: (N,) one per latent.
    """

    name: str
    values: np.ndarray


def latent_picture(latents: np.ndarray, colorings: list[Coloring]) -> np.ndarray:
    """Draw latents (N, D) from above, once per coloring; returns a picture (H, W, 3) uint8."""
    centered = latents - latents.mean(axis=0)
    _, spread, axes = np.linalg.svd(centered, full_matrices=False)
    places = np.pad(centered @ axes[:2].T, ((0, 0), (0, max(0, 2 - len(axes)))))
    for place, coloring in zip(places.T, (colorings[0], colorings[-1]), strict=True):
        if place @ (coloring.values - coloring.values.mean()) < 0:
            place *= -1  # either sign would do; this way a map looks like the one before
    shares = np.square(spread[:2]) / max(float(np.square(spread).sum()), 1e-30)
    with picture_style():
        figure = Figure(figsize=(SIDE * len(colorings), SIDE + 0.2), dpi=DPI, layout="constrained")
        figure.get_layout_engine().set(wspace=0.05)
        for panel, coloring in zip(np.atleast_1d(figure.subplots(1, len(colorings))), colorings, strict=True):
            drawn = panel.scatter(*places.T, c=coloring.values, cmap=COLORS, s=9, lw=0)
            panel.set_aspect("equal", adjustable="datalim")
            panel.set_title(coloring.name)
            panel.set_xlabel(f"component 1 ({percent(shares[0], 0)} of variance)", loc="left")
            panel.set_ylabel(f"component 2 ({percent(shares[1], 0) if len(shares) > 1 else '0%'})")
            panel.grid(axis="x", visible=True)
            figure.colorbar(drawn, ax=panel, shrink=0.8, aspect=30, pad=0.02).outline.set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))
