"""Imagined frames as a picture and as videos."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lewm_cli.decode import GAP, DecodeResult
from lewm_cli.files import atomic_path
from lewm_cli.report.page.figures import IMAGINATION_COLORS, plot_psnr
from lewm_cli.report.page.style import VARIABLES, light_colors, picture_style
from lewm_cli.report.video import held, write_video

ROWS = ("recorded", "imagined", "re-encoded", "copied")
"""Of a filmstrip, from the top."""

SIDE = 224
"""Pixels of a frame of a video, at least."""

FRAMES_PER_SECOND = 4

WIDTH, CURVES, DPI = 9.2, 2.7, 160
"""Inches of the picture and of the curves' height, and pixels per inch."""


def save_filmstrips(result: DecodeResult, path: Path) -> None:
    """Draws filmstrips, and the curves of PSNR below, into a PNG file; raises LewmError if it cannot be written."""
    light, films = light_colors(), result.filmstrips
    colors = {what: light[VARIABLES[color]] for what, color in IMAGINATION_COLORS.items()}
    strip = WIDTH * len(ROWS) / (result.horizon + 2) + 0.5
    with picture_style():
        figure = Figure(figsize=(WIDTH, strip * len(films) + CURVES), dpi=DPI, layout="constrained")
        *places, below = figure.subfigures(len(films) + 1, 1, height_ratios=[*[strip] * len(films), CURVES])
        for place, film in zip(places, films, strict=True):
            axes = place.subplots()
            show_strip(axes, film.picture(), ROWS, film.side)
            axes.set_title(f"episode {film.episode}, from row {film.row}")
        for changed, axes in zip((False, True), below.subplots(1, 2), strict=True):
            plot_psnr(axes, result, colors, changed=changed)
        look = {"frameon": False, "labelcolor": light["ink"], "ncols": len(colors)}
        below.legend(*axes.get_legend_handles_labels(), loc="outside lower left", **look)
        with atomic_path(path) as part, part.open("wb") as file:
            figure.savefig(file, format="png")


def show_strip(axes: Axes, sheet: np.ndarray, rows: Sequence[str], side: int) -> None:
    """Draws a sheet (H, W, 3) of frames of a side in pixels, with names of its rows and the model steps of columns."""
    axes.imshow(sheet, interpolation="nearest")
    ahead = range(1, (sheet.shape[1] + GAP) // (side + GAP))
    for ticks, names in ((axes.set_xticks, ("context", *(f"+{step}" for step in ahead))), (axes.set_yticks, rows)):
        ticks(side / 2 + (side + GAP) * np.arange(len(names)), names)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)


def save_videos(result: DecodeResult, folder: Path) -> None:
    """Writes an mp4 of every filmstrip, recorded frames left and imagined ones right; raises LewmError if it cannot."""
    for film in result.filmstrips:
        larger = -(-SIDE // film.side)
        recorded, imagined, *_ = film.frames().repeat(larger, axis=2).repeat(larger, axis=3)
        gap = np.full((*recorded.shape[:2], GAP, 3), 255, np.uint8)
        path = folder / f"episode-{film.episode:03}-row-{film.row}.mp4"
        beside = np.concatenate([recorded, gap, imagined], axis=2)
        write_video(path, held(beside, FRAMES_PER_SECOND), FRAMES_PER_SECOND)
