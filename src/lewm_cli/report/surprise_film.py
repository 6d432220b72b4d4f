"""Videos of recorded episodes with the curve of surprise running under the frames."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lewm_cli.data import Dataset
from lewm_cli.report.page.style import light_colors, log_axis, log_limits, picture_style
from lewm_cli.report.video import FRAMES_PER_SECOND, write_video
from lewm_cli.surprise import SurpriseResult

BORDER = 6
"""Pixels around a frame, colored during an event."""

LEAST_WIDTH, CURVE_HEIGHT, DPI = 360, 150, 100
"""Pixels of the curve, and per inch."""

READ_TOGETHER = 64
"""Rows read at a time."""

PALE = 0.72
"""Whitening of what is still to come."""


def film_surprise(
    result: SurpriseResult, dataset: Dataset, episodes: list[int], folder: Path, advance: Callable[[int], None]
) -> None:
    """Write `episode-NUMBER.mp4` for each of some episodes; each is written whole or not at all.

    Frames have their recorded size; they are shown at the recorded rate, or 10 a second where that is not known.

    Args:
        dataset: the recording that was measured.
        advance: is called with the number of frames done since the last call.

    Raises:
        LewmError: a video cannot be written, or the recording is damaged.
    """
    for episode in episodes:
        frames = _with_curve(result, dataset, episode, advance)
        write_video(folder / f"episode-{episode:03}.mp4", frames, dataset.fps or FRAMES_PER_SECOND)


def _with_curve(
    result: SurpriseResult, dataset: Dataset, episode: int, advance: Callable[[int], None]
) -> Iterator[np.ndarray]:
    """Every row of an episode as a picture (H, W, 3), the frame above and the curve below it."""
    light, side, length = light_colors(), dataset.frame_size, int(dataset.lengths[episode])
    top = side + side % 2 + 2 * BORDER  # the format takes even sizes
    width = max(LEAST_WIDTH, top)
    past, coming, columns = _draw_curve(result, episode, length, width)
    eventful = np.zeros(length, bool)
    for event in result.events_of(episode):
        eventful[event.row : event.row + event.steps * result.frameskip] = True
    left = (width - side) // 2
    for start in range(0, length, READ_TOGETHER):
        first, last = int(dataset.offsets[episode]) + start, min(start + READ_TOGETHER, length)
        seen = dataset.read("pixels", slice(first, first + last - start))
        for row, frame in enumerate(seen, start=start):
            border = _hex(light["event"]) if eventful[row] else 255
            picture = np.full((top + CURVE_HEIGHT, width, 3), 255, np.uint8)
            picture[: side + 2 * BORDER, left - BORDER : left + side + BORDER] = border
            picture[BORDER : BORDER + side, left : left + side] = frame
            picture[top:, : columns[row]] = past[:, : columns[row]]
            picture[top:, columns[row] :] = coming[:, columns[row] :]
            yield picture
        advance(len(seen))


def _draw_curve(
    result: SurpriseResult, episode: int, length: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The curve as a picture (CURVE_HEIGHT, width, 3), the same pale, and the column in it of every row (length,)."""
    curve = next(one.curves["model"] for one in result.episodes if one.episode == episode)
    values = np.array(curve, float)
    rows = result.frameskip * np.arange(1, len(values) + 1)
    threshold = result.threshold.value if result.threshold else 0.0
    light = light_colors()
    with picture_style():
        figure = Figure(figsize=(width / DPI, CURVE_HEIGHT / DPI), dpi=DPI, layout="constrained")
        canvas, axes = FigureCanvasAgg(figure), figure.subplots()
        for event in result.events_of(episode):
            end = event.row + event.steps * result.frameskip
            axes.axvspan(event.row, end, color=light["event"], alpha=0.2, lw=0)
        axes.set_xlim(0, max(length - 1, 1))
        axes.set_ylim(*log_limits(np.append(values[np.isfinite(values)], threshold), 0.1))
        log_axis(axes)
        positive = np.where(values > 0, values, np.nan)  # nothing else has a place on a logarithmic axis
        axes.plot(rows, positive, color=light["model"], marker="o", ms=2.5, lw=1.2)
        if threshold > 0:
            axes.axhline(threshold, color=light["event"], lw=1, dashes=(3, 3))
        axes.set_title(f"episode {episode}: surprise" + (f", threshold {threshold:.3g}" if result.threshold else ""))
        canvas.draw()
        columns = axes.transData.transform(np.column_stack([np.arange(length), np.ones(length)]))[:, 0]
        area = axes.get_window_extent()
    past = np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
    coming = past.copy()
    inside = slice(CURVE_HEIGHT - int(area.y1), CURVE_HEIGHT - int(area.y0))
    coming[inside] = past[inside] + PALE * (255.0 - past[inside])
    return past, coming, np.clip(columns.astype(int), 0, width - 1)


def _hex(color: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(color[1:]), np.uint8)
