"""Frames at the size a model sees: from the recording, decoded once into a memory map, or from an image file."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import imageio.v3 as imageio
import numpy as np

from lewm_cli.data.dataset import Dataset
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.files import atomic_path, locked, remove_stale_parts
from lewm_cli.system_errors import explain
from lewm_cli.workers import available_cores

CHUNK = 256
"""Rows decoded at a time while packing."""


class Frames(Protocol):
    """Frames by row number, at one size."""

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Frames (K, size, size, 3) uint8 of the given rows, in the order asked for.

        Raises:
            LewmError: the recording is damaged.
        """
        ...


def resize(frames: np.ndarray, size: int) -> np.ndarray:
    """Area-average frames (K, H, W, 3) uint8 to (K, size, size, 3); a copy-free pass if they have that size."""
    if frames.shape[1:3] == (size, size):
        return frames
    return np.stack([cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA) for frame in frames])


@dataclass(frozen=True)
class DecodedFrames:
    """Frames of a recording, decoded and resized to `size` pixels at every access: no disk needed, slow."""

    dataset: Dataset
    size: int

    def rows(self, rows: np.ndarray) -> np.ndarray:
        return resize(self.dataset.read("pixels", rows), self.size)


class PackedFrames:
    """Frames in a memory map, the `.npy` file (N, size, size, 3) uint8 at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pixels: np.ndarray = np.load(path, mmap_mode="r")

    def __reduce__(self) -> tuple[type["PackedFrames"], tuple[Path]]:
        return PackedFrames, (self.path,)  # a batch worker maps the file for itself

    def rows(self, rows: np.ndarray) -> np.ndarray:
        frames: np.ndarray = self._pixels[rows]
        return frames


def find_packed(dataset: Dataset, size: int, folder: Path) -> PackedFrames | None:
    """The frames of a recording, if they have been packed at this size."""
    path = _packed_path(dataset, size, folder)
    return PackedFrames(path) if path.exists() else None


def open_frames(dataset: Dataset, size: int, folder: Path) -> Frames:
    """The frames of a recording at one size: packed if they have been, else decoded at every access."""
    return find_packed(dataset, size, folder) or DecodedFrames(dataset, size)


def pack_frames(dataset: Dataset, size: int, folder: Path, advance: Callable[[int], None]) -> PackedFrames:
    """Decode and resize every frame of a recording once; waits while another process does.

    `advance` is called with the number of rows done since the last call.

    Raises:
        LewmError: the disk is full, or the recording is damaged.
    """
    path = _packed_path(dataset, size, folder)
    with locked(path, busy=None) as alone:
        if not path.exists():  # another process may have packed it while this one waited
            if alone:
                remove_stale_parts(path)
            with atomic_path(path) as part:
                _write_packed(dataset, size, part, advance)
    return PackedFrames(path)


def packed_paths(dataset: Dataset, folder: Path) -> list[Path]:
    """The packed frames of a recording, at every size.

    Raises:
        LewmError: the recording is damaged, so that it has no fingerprint to find them by.
    """
    return sorted(folder.glob(_packed_path(dataset, "*", folder).name))


def _packed_path(dataset: Dataset, size: int | str, folder: Path) -> Path:
    return folder / f"{dataset.identity.fingerprint[:16]}-{size}-area.npy"


def _write_packed(dataset: Dataset, size: int, part: Path, advance: Callable[[int], None]) -> None:
    rows = len(dataset.actions)
    with part.open("wb") as packed, ThreadPoolExecutor(available_cores()) as pool:
        header = {"descr": "|u1", "fortran_order": False, "shape": (rows, size, size, 3)}
        np.lib.format.write_array_header_1_0(packed, header)
        # h5py decodes under one lock; resizing runs beside it in the pool. Written, not mapped, while packing:
        # a full disk is then an error and not a bus error.
        waiting: deque[Future[np.ndarray]] = deque()
        for start in range(0, rows, CHUNK):
            waiting.append(pool.submit(resize, dataset.read("pixels", slice(start, start + CHUNK)), size))
            while len(waiting) > (4 if start + CHUNK < rows else 0):
                frames = waiting.popleft().result()
                packed.write(np.ascontiguousarray(frames).data)
                advance(len(frames))


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
        raise explain(error, path, "read") from error
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
