"""A video, or a folder of images, and the actions taken at its frames, as a recording of one episode."""

import re
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lewm_cli.config import Framing
from lewm_cli.data.action_file import Table
from lewm_cli.data.dataset import Column, Dataset
from lewm_cli.data.frames import checked_frame
from lewm_cli.data.framing import square
from lewm_cli.data.pixel_format import decode_image
from lewm_cli.data.video_frames import decoded_frames, video_rate
from lewm_cli.errors import LewmError
from lewm_cli.file_kind import FileKind, look
from lewm_cli.system_errors import explain

FRAME = 224
"""Side of the largest frames that are kept: that of released recordings."""


@dataclass(frozen=True, kw_only=True)
class VideoDataset(Dataset):
    """A decoded video; frames lie in a temporary file that ends with the process.

    Args:
        frames: (N, size, size, 3) uint8.
        taken: (N, A) float32, NaN where no action is known.
    """

    frames: np.ndarray
    taken: np.ndarray

    def read(self, name: str, rows: np.ndarray | slice) -> np.ndarray:
        columns = {"pixels": self.frames, "action": self.taken}
        if name not in columns:
            raise LewmError(f"{self.path} is a video and has no column {name!r}; name a recording that has it")
        values: np.ndarray = columns[name][rows]
        return values


def holds_frames(path: Path) -> bool:
    """True for a video, an image that may move, and a folder with images in it."""
    try:
        if path.is_dir():
            return bool(_images(path))
        return path.is_file() and look(path) in (FileKind.VIDEO, FileKind.IMAGE)
    except OSError:  # whoever opens it says what is wrong
        return False


def open_video(path: Path, actions: Table, say: Callable[[str], None], framing: Framing | None = None) -> VideoDataset:
    """Decode a video once; the square in the middle is kept, at most 224 x 224, as recordings are.

    Args:
        path: a video of any format that ffmpeg reads, an animated image, or a folder of images in order.
        actions: (K, A) one per frame; the last frame may have none, and an action after it is left out.
        framing: of the recording whose camera gave these frames; they become square in the same way instead.

    Raises:
        LewmError: it holds no moving picture or is damaged, frames and actions are not equally many, or its frames are
            not those of the camera.
    """
    images = _images(path) if path.is_dir() else None
    if images is None:
        decoded = decoded_frames(path, say=say)
    else:
        decoded = (decode_image(image.read_bytes(), image) for image in images)
    with tempfile.TemporaryFile() as file, closing(decoded):
        count, shape = 0, (0, 0)
        for frame in decoded:
            if count and frame.shape[:2] != shape:
                raise LewmError(f"{path}: frame {count} has another size than those before; make them all alike")
            shape = frame.shape[:2]
            kept = checked_frame(frame, f"a frame of {path}", framing) if framing else middle_square(frame)
            try:
                file.write(kept.tobytes())
                file.flush()
            except OSError as error:
                said = explain(error, tempfile.gettempdir(), "written")
                raise LewmError(f"{said}; decoded frames lie there, and TMPDIR names another folder") from error
            count += 1
        if count < 2:
            raise LewmError(
                f"{path} holds {('no frame', 'one frame')[count]}, and surprise needs two or more; give a video"
            )
        frames = np.memmap(file, np.uint8, "r", shape=(count, *kept.shape))
    cropped = "" if shape[0] == shape[1] else ", of which the square in the middle is taken"
    cropped = f"; those of the recording's camera: {framing}" if framing else cropped
    say(f"video: {count} frames of {shape[1]} x {shape[0]}{cropped}")
    taken = _aligned(path, actions, count, say)
    columns = (Column("pixels", frames.shape[1:], "uint8"), Column("action", taken.shape[1:], "float32"))
    return VideoDataset(
        path=path.absolute(),
        name=str(path),
        lengths=np.array([count]),
        offsets=np.array([0]),
        columns=columns,
        task=None,
        policy=None,
        seed=None,
        fps=video_rate(path) if images is None and look(path) is FileKind.VIDEO else None,  # images may change theirs
        frames=frames,
        taken=taken,
    )


def middle_square(frame: np.ndarray) -> np.ndarray:
    """Keeps of a frame (H, W, 3) uint8 the square in the middle, at most 224 x 224, as recordings are."""
    height, width = frame.shape[:2]
    return square(frame, Framing(width=width, height=height, size=min(height, width, FRAME)))


def unequal(frames: int, actions: int) -> str:
    """Say that there are too many or too few actions for so many frames, and what to do about it."""
    more, fewer = max(actions, frames), min(actions, frames)
    times = round(more / max(1, fewer))
    of_rate = times > 1 and abs(more - times * fewer) <= times  # one fewer here too
    advice = f"thin out what is recorded {times} times as often" if of_rate else "cut what is longer"
    return f"{frames} frames and {actions} actions: as many are needed, or one action fewer; {advice}"


def _aligned(path: Path, actions: Table, count: int, say: Callable[[str], None]) -> Table:
    if abs(len(actions) - count) > 1:
        raise LewmError(f"{path} has {unequal(count, len(actions))}")
    if len(actions) > count:
        say(f"actions: the last of {len(actions)} is left out, for there are {count} frames")
    elif len(actions) < count:
        say(f"actions: {len(actions)}, none at the last of {count} frames")
    missing = np.full((max(0, count - len(actions)), actions.shape[1]), np.nan, np.float32)
    return np.concatenate([actions[:count], missing])


def _images(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if path.is_file() and look(path) is FileKind.IMAGE]
    return sorted(found, key=lambda path: in_order(path.name))


def in_order(name: str) -> list[str | int]:
    """A name cut into text, number, text, ..., to sort by: frame10 comes after frame9."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", name))]
