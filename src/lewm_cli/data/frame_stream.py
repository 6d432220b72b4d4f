"""Frames that come one by one while they are taken: raw through a pipe, or as image files in a folder that grows."""

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from lewm_cli.data.pixel_format import decode_image
from lewm_cli.data.video_dataset import in_order
from lewm_cli.errors import LewmError
from lewm_cli.system_errors import explain

Frame = npt.NDArray[np.uint8]

IMAGES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""Endings of the files that are waited for; before a file is whole, only its name says what it will be."""

END = "end"
"""Name of the file that says that no image follows."""

POLLED = 0.05
"""Seconds between two looks into a folder."""

UNCHANGED = 10.0
"""Seconds after its last change in which an image that is not whole may still be written on."""


def piped_frames(file: BinaryIO, width: int, height: int) -> Iterator[Frame]:
    """Yields frames (height, width, 3) of raw bytes, RGB row by row, as ffmpeg pipes them, until they end.

    Raises:
        LewmError: they end in the middle of a frame.
    """
    needed = 3 * width * height
    while content := file.read(needed):
        if len(content) < needed:
            raise LewmError(
                f"the frames end with {len(content):,} bytes of one that has {needed:,} at {width}x{height}: the "
                "stream broke off, or it has another --size or another format than -f rawvideo -pix_fmt rgb24"
            )
        yield np.frombuffer(content, np.uint8).reshape(height, width, 3)


def followed_frames(folder: Path) -> Iterator[Frame]:
    """Yields the images of a folder in the order of their names, each once it is whole, and waits for more.

    A file is whole if it can be decoded to its last pixel. A file called `end` ends the folder.

    Raises:
        LewmError: an image has another size than the first, comes after one that it precedes, or remains damaged; or
            the folder cannot be read.
    """
    last, seen, shape = in_order(""), 0, None
    try:
        while True:
            ended = (folder / END).exists()  # asked first: whatever was written before it is in the list
            images = [path for path in folder.iterdir() if path.suffix.lower() in IMAGES and path.name[0] != "."]
            waiting = sorted(
                (path for path in images if in_order(path.name) > last), key=lambda path: in_order(path.name)
            )
            if len(images) - len(waiting) > seen:
                raise LewmError(
                    f"{folder}: an image came that stands before others, which are measured already, in the order of "
                    "names; number images in the order in which they are taken"
                )
            for path in waiting:
                content = path.read_bytes()
                if not _is_whole(content):
                    if ended or time.time() - path.stat().st_mtime > UNCHANGED:
                        raise LewmError(f"{path} is damaged or cut short; write it again, and begin anew")
                    break
                frame = decode_image(content, path)
                if shape and frame.shape != shape:
                    (height, width), (before_height, before_width) = frame.shape[:2], shape[:2]
                    raise LewmError(
                        f"{path} is {width} x {height} pixels, and the images before it are {before_width} x "
                        f"{before_height}; make them all alike"
                    )
                last, seen, shape = in_order(path.name), seen + 1, frame.shape
                yield frame
            else:
                if ended:
                    return
            time.sleep(POLLED)
    except OSError as error:
        raise explain(error, folder, "read") from error


def _is_whole(content: bytes) -> bool:
    """Tells whether an image can be decoded to its last pixel, which OpenCV does not say."""
    from PIL import Image  # late: other frames need none of it

    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except Exception:  # every format fails in its own way
        return False
    return True
