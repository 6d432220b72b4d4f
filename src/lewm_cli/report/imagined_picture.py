"""Strips of frames that a model imagines while it is trained, as one picture."""

import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lewm_cli.decode import sheet_of
from lewm_cli.report.filmstrips import show_strip
from lewm_cli.report.page.style import picture_style

ROWS = ("recorded", "re-encoded", "imagined")
"""Of a strip, from the top."""

COLUMN, DPI = 0.72, 130
"""Inches of a frame, and pixels per inch."""


def imagined_picture(strips: np.ndarray) -> np.ndarray:
    """Draw strips (S, 3, C, side, side, 3) uint8 of frames, rows as in `ROWS`; returns a picture (H, W, 3) uint8."""
    count, _, columns, side = strips.shape[:4]
    size = COLUMN * (columns + 1.3), (COLUMN * len(ROWS) + 0.35) * count
    with picture_style():
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        for axes, strip in zip(np.atleast_1d(figure.subplots(count)), strips, strict=True):
            show_strip(axes, sheet_of(strip), ROWS, side)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))
