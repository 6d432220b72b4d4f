"""Imagined frames as a picture and as videos."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lewm_cli.decode import DecodeResult
from lewm_cli.files import atomic_path
from lewm_cli.report.page.figures import IMAGINATION_COLORS, plot_psnr
from lewm_cli.report.page.style import VARIABLES, light_colors, picture_style
from lewm_cli.report.video import GAP, write_video

ROWS = ("recorded", "imagined", "re-encoded", "copied")
"""Of a filmstrip, from the top."""

SIDE = 224
"""Pixels of a frame of a video, at least."""

FRAMES_PER_SECOND = 4

WIDTH, CURVES, DPI = 9.2, 2.7, 160
"""Inches of the picture and of the curves' height, and pixels per inch."""


def save_filmstrips(result: DecodeResult, path: Path) -> None:
    """Draws filmstrips, and the curves of PSNR below, into a PNG file; raises LewmError if it cannot be written."""
    tile = WIDTH / (result.horizon + 2.5)
    strip = tile * len(ROWS) + 0.5
    light = light_colors()
    with picture_style():
        figure = Figure(figsize=(WIDTH, strip * len(result.filmstrips) + CURVES), dpi=DPI, layout="constrained")
        *places, below = figure.subfigures(
            len(result.filmstrips) + 1, 1, height_ratios=[*[strip] * len(result.filmstrips), CURVES]
        )
        for place, film in zip(places, result.filmstrips, strict=True):
            place.suptitle(f"episode {film.episode}, from row {film.row}", fontsize=9, ha="left", x=0.01)
            grid = place.subplots(len(ROWS), result.horizon + 1)
            for axes_row, frames, name in zip(grid, film.frames(), ROWS, strict=True):
                for step, (axes, frame) in enumerate(zip(axes_row, frames, strict=True)):
                    axes.imshow(frame, interpolation="nearest")
                    axes.set(xticks=[], yticks=[])
                    axes.grid(visible=False)
                    if name == ROWS[-1]:
                        axes.set_xlabel("context" if step == 0 else f"+{step}")
                axes_row[0].set_ylabel(name, rotation=0, ha="right", va="center", color=light["ink"])
        colors = {what: light[VARIABLES[color]] for what, color in IMAGINATION_COLORS.items()}
        for changed, axes in zip((False, True), below.subplots(1, 2), strict=True):
            plot_psnr(axes, result, colors, changed=changed)
        axes.legend(frameon=False, labelcolor=light["ink"])
        with atomic_path(path) as part, part.open("wb") as file:
            figure.savefig(file, format="png")


def save_videos(result: DecodeResult, folder: Path) -> None:
    """Writes an mp4 of every filmstrip, recorded frames left and imagined ones right; raises LewmError if it cannot."""
    for film in result.filmstrips:
        larger = -(-SIDE // film.side)
        recorded, imagined, *_ = film.frames().repeat(larger, axis=2).repeat(larger, axis=3)
        gap = np.full((len(recorded), recorded.shape[1], GAP, 3), 255, np.uint8)
        path = folder / f"episode-{film.episode:03}-row-{film.row}.mp4"
        write_video(path, np.concatenate([recorded, gap, imagined], axis=2), FRAMES_PER_SECOND)
