"""Frames at the size a model sees: decoded at every access, kept in memory, or from an image file."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import cv2
import imageio.v3 as imageio
import numpy as np

from lewm_cli.config import Framing
from lewm_cli.data.dataset import Dataset
from lewm_cli.data.framing import square
from lewm_cli.data.hdf5_dataset import HDF5Dataset
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.system_errors import explain
from lewm_cli.workers import available_cores, available_memory

READ_TOGETHER = 200
"""Rows that a thread reads at a time while all are read into memory: two whole chunks of released recordings."""

COMFORTABLE = 0.5
"""Share of the available memory that frames are kept in unasked."""

Placement = Literal["auto"] | bool
"""True if frames are kept in memory; `auto` keeps them there if they fit comfortably."""


class Frames(ABC):
    """Frames by row number, at one size.

    Args:
        size: their side in pixels.
        in_threads: threads read side by side; under HDF5's lock only processes do.
    """

    def __init__(self, size: int, *, in_threads: bool) -> None:
        self.size, self.in_threads = size, in_threads

    @abstractmethod
    def read(self, rows: np.ndarray, frames: np.ndarray) -> None:
        """Read rows, in the order asked for, into `frames` (K, size, size, 3) uint8.

        Raises:
            LewmError: the recording is damaged.
        """

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Frames (K, size, size, 3) uint8 of the given rows; errors are those of `read`."""
        frames = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        self.read(rows, frames)
        return frames


def resize(frames: np.ndarray, size: int) -> np.ndarray:
    """Area-average frames (K, H, W, 3) uint8 to (K, size, size, 3); a copy-free pass if they have that size."""
    if frames.shape[1:3] == (size, size):
        return frames
    return np.stack([cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA) for frame in frames])


class DecodedFrames(Frames):
    """Frames of a recording, decoded and resized to `size` pixels at every access."""

    def __init__(self, dataset: Dataset, size: int) -> None:
        super().__init__(size, in_threads=isinstance(dataset, HDF5Dataset) and dataset.chunks is not None)
        self.dataset = dataset

    def read(self, rows: np.ndarray, frames: np.ndarray) -> None:
        if self.dataset.frame_size == self.size:
            self.dataset.read_frames(rows, frames)
        else:
            frames[...] = resize(self.dataset.read("pixels", rows), self.size)


class MemoryFrames(Frames):
    """Frames that were all read once: `pixels` (N, size, size, 3) uint8."""

    def __init__(self, pixels: np.ndarray) -> None:
        super().__init__(pixels.shape[1], in_threads=True)
        self.pixels = pixels

    def read(self, rows: np.ndarray, frames: np.ndarray) -> None:
        np.take(self.pixels, rows, axis=0, out=frames, mode="clip")  # the mode that copies once, in place

    @classmethod
    def of(cls, frames: Frames, count: int, advance: Callable[[int], None]) -> Self:
        """Read rows 0 to before `count`; `advance` is called with the number of rows done since the last call.

        Raises:
            LewmError: the recording is damaged.
        """
        pixels = np.empty((count, frames.size, frames.size, 3), np.uint8)
        starts = range(0, count, READ_TOGETHER)

        def read(start: int) -> int:
            part = pixels[start : start + READ_TOGETHER]
            frames.read(np.arange(start, start + len(part)), part)
            return len(part)

        pool = ThreadPoolExecutor(available_cores())
        try:
            for done in pool.map(read, starts):
                advance(done)
        finally:
            pool.shutdown(cancel_futures=True)
        return cls(pixels)


def frame_bytes(count: int, size: int) -> int:
    """Bytes of so many frames in memory, at one size."""
    return count * size * size * 3


def belongs_in_memory(dataset: Dataset, size: int, placement: Placement) -> bool:
    """Tell whether all frames of a recording, at one size, are to be kept in memory.

    Raises:
        LewmError: they are to be, and do not fit.
    """
    needed, available = frame_bytes(len(dataset.actions), size), available_memory()
    if placement is True and needed > available:
        raise LewmError(
            f"the frames of {dataset.name} take {needed / 1e9:.1f} GB at {size} pixels, and {available / 1e9:.1f} GB "
            "of memory are free; --set data.in_memory=auto reads them when they are needed"
        )
    return placement is True or (placement == "auto" and needed <= COMFORTABLE * available)


@dataclass(frozen=True)
class Image:
    """An image file that can stand for a recorded frame: its path as typed, and the frame (size, size, 3) uint8."""

    name: str
    frame: np.ndarray


def read_image(path: Path, framing: Framing | None = None) -> Image:
    """Read an image of 8 bits per channel as a frame: gray becomes RGB, transparency is left out, a photo upright.

    `framing` is that of `checked_frame`.

    Raises:
        MissingError: there is no such file.
        LewmError: it is no image, has more than 8 bits per channel, or another size than frames have.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingError(f"there is no image {path}; name a file like goal.png") from error
    except OSError as error:
        raise explain(error, path, "read") from error
    try:
        stored = imageio.imread(content, plugin="pillow", index=0)
        frame = imageio.imread(content, plugin="pillow", index=0, mode="RGB", rotate=True)
    except Exception as error:  # every format fails in its own way at what is damaged, or is something else
        raise LewmError(f"{path} cannot be read as an image; name a PNG or JPEG file") from error
    if stored.dtype.itemsize > 1:
        raise LewmError(f"{path} has more than 8 bits per channel, and frames have 8; save it as an 8-bit PNG")
    return Image(str(path), checked_frame(frame, str(path), framing))


def checked_frame(frame: np.ndarray, what: str, framing: Framing | None = None) -> np.ndarray:
    """A frame (size, size, 3) uint8, as recordings hold them.

    Args:
        what: should be one, in words.
        framing: of the recording; a frame as large as its camera's becomes square in the same way.

    Raises:
        LewmError: it is something else.
    """
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        found = f"{frame.dtype} of shape {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise LewmError(
            f"{what} is {found}; give an RGB frame as a NumPy array (size, size, 3) of uint8 (from "
            "ffmpeg: -vf format=rgb24)"
        )
    height, width = frame.shape[:2]
    if framing and (height, width) == (framing.height, framing.width):
        return square(frame, framing)
    if framing and height != width:
        raise LewmError(
            f"{what} is {width} x {height} pixels, and the camera of the recording gave {framing.width} x "
            f"{framing.height}; set the camera to that size, or give square frames"
        )
    if height != width or height == 0:
        side = min(height, width)
        raise LewmError(
            f"{what} is {width} x {height} pixels, and frames are square; "
            f"crop it as the frames of the recording were, for example to {side} x {side} (with ffmpeg: "
            f"-vf crop={side}:{side},format=rgb24)"
        )
    return np.ascontiguousarray(frame)  # a camera's may be a view, mirrored or from BGR
