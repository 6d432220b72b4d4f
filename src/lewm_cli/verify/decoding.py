"""Decodes every frame of a recording, and checks that something moves in every episode."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil, prod

import h5py
import numpy as np

from lewm_cli.data import HDF5Dataset
from lewm_cli.verify.check import Finding, Problem

ROWS_AT_ONCE = 64
"""Frames that are decoded at a time at least; whole chunks, because HDF5 decodes nothing smaller."""

NAMED = 3
"""Places that are named before the rest is only counted."""


@dataclass
class FramesRead:
    """Counts of one pass over the frames; filled in while `frame_findings` goes.

    Args:
        decoded: rows whose frames were decoded.
        checksums: whether the frames carry checksums.
    """

    decoded: int = 0
    checksums: bool = False


def frame_findings(dataset: HDF5Dataset, advance: Callable[[int], None], read: FramesRead) -> Iterator[Finding]:
    """Decode every frame.

    Args:
        dataset: the recording.
        advance: told the number of rows done since the last call.
        read: counts what was decoded.
    """
    stillness = _Stillness(dataset)
    lost: list[tuple[int, int]] = []
    with dataset.opened() as file:
        pixels = file["pixels"]
        read.checksums = bool(pixels.fletcher32)
        unwritten = _unwritten_chunks(pixels)
        if unwritten:
            yield Problem(f"{unwritten:,} chunks of frames were never written: the recording broke off")
        for start, stop in _spans(pixels):
            try:
                frames = pixels[start:stop]
            except OSError:
                lost.append((start, stop))
                stillness.lose(start, stop)
            else:
                read.decoded += stop - start
                stillness.see(start, frames)
            advance(stop - start)
    if lost:
        rows = sum(stop - start for start, stop in lost)
        places = ", ".join(f"{start:,} to {stop - 1:,}" for start, stop in lost[:NAMED])
        rest = ", ..." if len(lost) > NAMED else ""
        yield Problem(f"frames of {rows:,} rows cannot be decoded: rows {places}{rest}")
    still = stillness.episodes()
    if still:
        named = ", ".join(map(str, still[:NAMED])) + (", ..." if len(still) > NAMED else "")
        yield Problem(f"all frames are the same in {len(still):,} episodes: {named}")


@dataclass
class _Stillness:
    """Follows which episodes have shown one frame only so far."""

    dataset: HDF5Dataset
    first: dict[int, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.order = np.argsort(self.dataset.offsets, kind="stable")
        self.starts = self.dataset.offsets[self.order]
        self.ends = self.starts + self.dataset.lengths[self.order]
        # An episode of one frame cannot move.
        self.still = self.dataset.lengths > 1

    def see(self, start: int, frames: np.ndarray) -> None:
        for place in self._touched(start, start + len(frames)):
            episode = int(self.order[place])
            if not self.still[episode]:
                continue
            own = frames[max(self.starts[place] - start, 0) : self.ends[place] - start]
            first = self.first.pop(episode, None)
            first = own[0] if first is None else first
            if any(not np.array_equal(frame, first) for frame in own):
                self.still[episode] = False
            elif self.ends[place] > start + len(frames):
                self.first[episode] = first.copy()  # else the whole block stays in memory

    def lose(self, start: int, stop: int) -> None:
        # What cannot be decoded is reported as that, and says nothing about moving.
        self.still[self.order[list(self._touched(start, stop))]] = False

    def episodes(self) -> list[int]:
        return [int(episode) for episode in np.flatnonzero(self.still)]

    def _touched(self, start: int, stop: int) -> range:
        return range(np.searchsorted(self.ends, start, "right"), np.searchsorted(self.starts, stop, "left"))


def _spans(pixels: h5py.Dataset) -> Iterator[tuple[int, int]]:
    chunk = pixels.chunks[0] if pixels.chunks else ROWS_AT_ONCE
    step = chunk * ceil(ROWS_AT_ONCE / chunk)
    return ((start, min(start + step, len(pixels))) for start in range(0, len(pixels), step))


def _unwritten_chunks(pixels: h5py.Dataset) -> int:
    if not pixels.chunks:
        return 0
    expected: int = prod(ceil(size / chunk) for size, chunk in zip(pixels.shape, pixels.chunks, strict=True))
    return expected - int(pixels.id.get_num_chunks())
