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
    height, width = frame.shape[:2]
    shorter, longer = sorted((height, width))
    match framing.fit:
        case "crop":
            top, left = (height - shorter) // 2, (width - shorter) // 2
            frame = frame[top : top + shorter, left : left + shorter]
        case "pad":
            top, left = (longer - height) // 2, (longer - width) // 2
            frame = np.pad(frame, ((top, longer - height - top), (left, longer - width - left), (0, 0)))
    if frame.shape[:2] == (framing.size, framing.size):
        return np.ascontiguousarray(frame)
    # Areas are averaged; a frame that is too small is enlarged by lines between its pixels.
    smaller = min(frame.shape[:2]) >= framing.size
    way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(frame), (framing.size, framing.size), interpolation=way).astype(np.uint8)
