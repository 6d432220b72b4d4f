"""Images that are not in a recording, as the frames of one: a goal from a file, what a camera sees now."""

from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as imageio
import numpy as np

from lewm_cli.errors import LewmError, MissingError


@dataclass(frozen=True)
class Image:
    """An image file that can stand for a recorded frame: its path as typed, and the frame (size, size, 3) uint8."""

    name: str
    frame: np.ndarray


def read_image(path: Path) -> Image:
    """Read an image of 8 bits per channel as a frame: gray becomes RGB, transparency is left out, a photo upright.

    Raises:
        MissingError: there is no such file.
        LewmError: it is no image, has more than 8 bits per channel, or is not square.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingError(f"there is no image {path}; name a file like goal.png") from error
    except OSError as error:
        raise LewmError(f"{path} cannot be read ({error.strerror}); name a file like goal.png") from error
    try:
        stored = imageio.imread(content, plugin="pillow", index=0)
        frame = imageio.imread(content, plugin="pillow", index=0, mode="RGB", rotate=True)
    except Exception as error:  # every format fails in its own way at what is damaged, or is something else
        raise LewmError(f"{path} cannot be read as an image; name a PNG or JPEG file") from error
    if stored.dtype.itemsize > 1:
        raise LewmError(f"{path} has more than 8 bits per channel, and frames have 8; save it as an 8-bit PNG")
    return Image(str(path), checked_frame(frame, str(path)))


def checked_frame(frame: np.ndarray, what: str) -> np.ndarray:
    """A frame (size, size, 3) uint8, as recordings hold them.

    Raises:
        LewmError: it is something else; `what` says in words what should be one.
    """
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        found = f"{frame.dtype} of shape {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise LewmError(f"{what} is {found}; give an RGB frame as a NumPy array (size, size, 3) of uint8")
    height, width = frame.shape[:2]
    if height != width or height == 0:
        side = min(height, width)
        raise LewmError(
            f"{what} is {width} x {height} pixels, and frames are square; "
            f"crop it as the frames of the recording were, for example to {side} x {side}"
        )
    return np.ascontiguousarray(frame)  # a camera's may be a view, mirrored or from BGR
