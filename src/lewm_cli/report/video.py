"""Videos: of an episode, the goal beside it."""

from collections.abc import Callable
from pathlib import Path

import imageio.v3 as imageio
import numpy as np

from lewm_cli.errors import LewmError
from lewm_cli.evaluate import Film
from lewm_cli.files import atomic_path

FRAMES_PER_SECOND = 10
GAP = 8
"""White pixels between agent and goal."""


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
            write_video(self.folder / f"{name}.mp4", frames, FRAMES_PER_SECOND)
        except (LewmError, OSError) as error:
            self.say(f"no video of pair {film.number}: {error}")


def write_video(path: Path, frames: np.ndarray, frames_per_second: int) -> None:
    """Writes frames (T, H, W, 3) uint8 as an mp4, the last one held for a second, so that the end can be seen.

    Raises:
        LewmError: the disk is full or the folder cannot be written.
        OSError: the frames cannot be encoded.
    """
    with atomic_path(path) as part:
        imageio.imwrite(
            part,
            np.concatenate([frames, np.repeat(frames[-1:], frames_per_second, axis=0)]),
            extension=".mp4",
            plugin="FFMPEG",
            fps=frames_per_second,
            codec="libx264",
            macro_block_size=2,
            output_params=["-f", "mp4"],  # the temporary name says nothing about the format
        )
