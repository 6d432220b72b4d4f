"""Videos: of frames as they come, and of an episode with its goal beside it."""

from collections.abc import Callable, Iterable
from pathlib import Path

import imageio.v3 as imageio
import numpy as np

from lewm_cli.errors import LewmError
from lewm_cli.evaluate import Film
from lewm_cli.files import atomic_path

FRAMES_PER_SECOND = 10
GAP = 8
"""White pixels between agent and goal."""


def write_video(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write an mp4 of frames (H, W, 3) uint8, one after the other.

    Raises:
        LewmError: it cannot be written.
    """
    with atomic_path(path) as part:
        imageio.imwrite(
            part,
            frames,
            is_batch=True,
            extension=".mp4",
            plugin="FFMPEG",
            fps=fps,
            codec="libx264",
            macro_block_size=2,
            output_params=["-f", "mp4"],  # the temporary name says nothing about the format
        )


def held(frames: np.ndarray, fps: int) -> np.ndarray:
    """Frames (T, H, W, 3) with the last one repeated for a second, so that the end can be seen."""
    return np.concatenate([frames, np.repeat(frames[-1:], fps, axis=0)])


class VideoFolder:
    """Takes films and writes each as an mp4: left the agent, right the goal.

    A video that cannot be written is reported and left out: the evaluation matters more.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say

    def __call__(self, film: Film) -> None:
        outcome = "success" if film.success else "failure"
        name = f"start-{film.number:03}" if film.success is None else f"pair-{film.number:03}-{outcome}"
        frames, goal = film.frames, film.goal.frame
        gap = np.full((len(frames), len(goal), GAP, 3), 255, np.uint8)
        frames = np.concatenate([frames, gap, np.broadcast_to(goal, frames.shape)], axis=2)
        try:
            write_video(self.folder / f"{name}.mp4", held(frames, FRAMES_PER_SECOND), FRAMES_PER_SECOND)
        except (LewmError, OSError) as error:
            self.say(f"no video of pair {film.number}: {error}")
