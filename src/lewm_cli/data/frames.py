"""Frames at the size a model sees: straight from the recording, or decoded once into a memory map."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Protocol

import cv2
import h5py
import numpy as np

from lewm_cli.data.dataset import Dataset, readable
from lewm_cli.files import atomic_path, locked, remove_stale_parts
from lewm_cli.workers import available_cores

CHUNK = 256
"""Rows decoded at a time while packing."""


class Frames(Protocol):
    """Frames by row number, at one size."""

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Frames (K, size, size, 3) uint8 of the given rows, in the order asked for."""
        ...


def resize(frames: np.ndarray, size: int) -> np.ndarray:
    """Area-average frames (K, H, W, 3) uint8 to (K, size, size, 3); a copy-free pass if they have that size."""
    if frames.shape[1:3] == (size, size):
        return frames
    return np.stack([cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA) for frame in frames])


@dataclass(frozen=True)
class HDF5Frames:
    """Frames decoded and resized at every access: no disk needed, slow.

    Args:
        path: the recording.
        size: side of the frames served, pixels.
    """

    path: Path
    size: int

    @cached_property
    def _pixels(self) -> h5py.Dataset:
        return h5py.File(self.path, "r", locking="best-effort")["pixels"]

    def __getstate__(self) -> dict[str, object]:
        # A batch worker opens the file for itself.
        return {"path": self.path, "size": self.size}

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Frames (K, size, size, 3) uint8 of the given rows.

        Raises:
            LewmError: the recording is damaged.
        """
        unique, inverse = np.unique(rows, return_inverse=True)
        with readable(self.path):
            # One read per chunk: asked for a list of rows, HDF5 decodes the whole chunk anew for each of them.
            chunks = unique // (self._pixels.chunks or (CHUNK,))[0]
            groups = np.split(unique, np.flatnonzero(np.diff(chunks)) + 1)
            frames = [self._pixels[group[0] : group[-1] + 1][group - group[0]] for group in groups]
        return resize(np.concatenate(frames), self.size)[inverse]


@dataclass(frozen=True)
class PackedFrames:
    """Frames in a memory map of exactly the size that the model sees.

    Args:
        path: a `.npy` file (N, size, size, 3) uint8.
    """

    path: Path

    @cached_property
    def _pixels(self) -> np.ndarray:
        return np.load(self.path, mmap_mode="r")

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path}

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Frames (K, size, size, 3) uint8 of the given rows."""
        return self._pixels[rows]


def find_packed(dataset: Dataset, size: int, folder: Path) -> PackedFrames | None:
    """The frames of a recording, if they have been packed at this size."""
    path = _packed_path(dataset, size, folder)
    return PackedFrames(path) if path.exists() else None


def pack_frames(dataset: Dataset, size: int, folder: Path, advance: Callable[[int], None]) -> PackedFrames:
    """Decode and resize every frame of a recording once; waits while another process does.

    Args:
        dataset: the recording.
        size: side of the packed frames, pixels.
        folder: where packed recordings lie.
        advance: told the number of rows done since the last call.

    Raises:
        LewmError: the disk is full, or the recording is damaged.
    """
    path = _packed_path(dataset, size, folder)
    with locked(path, busy=None):
        if not path.exists():  # another process may have packed it while this one waited
            remove_stale_parts(path)
            with atomic_path(path) as part:
                _write_packed(dataset, size, part, advance)
    return PackedFrames(path)


def packed_paths(dataset: Dataset, folder: Path) -> list[Path]:
    """The packed frames of a recording, at every size.

    Raises:
        LewmError: the recording is damaged, so that it cannot be said which are its own.
    """
    return sorted(folder.glob(f"{_packed_stem(dataset)}-*-area.npy"))


def _packed_path(dataset: Dataset, size: int, folder: Path) -> Path:
    return folder / f"{_packed_stem(dataset)}-{size}-area.npy"


def _packed_stem(dataset: Dataset) -> str:
    return dataset.identity.fingerprint[:16]


def _write_packed(dataset: Dataset, size: int, part: Path, advance: Callable[[int], None]) -> None:
    with dataset.opened() as file, part.open("wb") as packed, ThreadPoolExecutor(available_cores()) as pool:
        pixels = file["pixels"]
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(pixels), size, size, 3)}
        np.lib.format.write_array_header_1_0(packed, header)
        # h5py decodes under one lock; resizing runs beside it in the pool. Written, not mapped, while packing:
        # a full disk is then an error and not a bus error.
        waiting: list = []
        for start in range(0, len(pixels), CHUNK):
            waiting.append(pool.submit(resize, pixels[start : start + CHUNK], size))
            if len(waiting) > 4:
                advance(_write_chunk(packed, waiting.pop(0).result()))
        for chunk in waiting:
            advance(_write_chunk(packed, chunk.result()))


def _write_chunk(packed: IO[bytes], frames: np.ndarray) -> int:
    packed.write(np.ascontiguousarray(frames).data)
    return len(frames)
