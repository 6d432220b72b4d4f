"""Frames of a camera made square, as those of a recording were."""

import cv2
import numpy as np
import numpy.typing as npt

from lewm_cli.config import Framing
from lewm_cli.errors import LewmError

Frame = npt.NDArray[np.uint8]


def square(frame: Frame, framing: Framing) -> Frame:
    """Make a frame (height, width, 3) of a camera square (size, size, 3): box, then fit, then areas averaged.

    Raises:
        LewmError: it has another size than the camera's frames had.
    """
    if frame.shape[:2] != (framing.height, framing.width):
        height, width = frame.shape[:2]
        raise LewmError(
            f"a frame has {width} x {height} pixels, and those of the recording had {framing.width} x "
            f"{framing.height}; set the camera to that size"
        )
    if box := framing.box:
        frame = frame[box.top : box.top + box.height, box.left : box.left + box.width]
    match framing.fit:
        case "crop":
            frame = _middle(frame)
        case "pad":
            frame = _padded(frame)
    if frame.shape[:2] == (framing.size, framing.size):
        return np.ascontiguousarray(frame)
    # Areas are averaged; a frame that is too small is enlarged by lines between its pixels.
    smaller = min(frame.shape[:2]) >= framing.size
    way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(frame), (framing.size, framing.size), interpolation=way).astype(np.uint8)


def _middle(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return frame[top : top + side, left : left + side]


def _padded(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    padded = np.zeros((side, side, 3), np.uint8)
    padded[top : top + height, left : left + width] = frame
    return padded
