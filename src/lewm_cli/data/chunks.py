"""Frames read around HDF5: where their chunks lie is asked once, and rows are then decoded in any number of threads.

HDF5 decodes whole chunks, under one lock, and looks each of them up anew. What it gives defines what is read here, and
a test compares them.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, prod
from pathlib import Path
from typing import Self
from weakref import finalize

import h5py
import numpy as np

from lewm_cli.data.compression import (
    CODECS,
    FLETCHER32,
    Blocks,
    Cut,
    DamagedError,
    Read,
    UnknownFormatError,
    fletcher32,
    stored_blocks,
)
from lewm_cli.data.hdf5_file import filters_of

READ_WHOLE = 2**16
"""Bytes up to which a chunk is read at once; of a larger one only the blocks that are asked for."""

CHECKSUM = 4
NOWHERE = -1
"""The place of a chunk that was never written."""


class DamagedChunkError(DamagedError):
    """The chunk that holds the frames of these rows, from the first to before the second, cannot be decoded."""

    def __init__(self, start: int, stop: int, why: DamagedError) -> None:
        super().__init__(str(why))
        self.start, self.stop = start, stop


@dataclass(eq=False)
class FrameChunks:
    """The chunks of a column of frames (N, H, W, 3) uint8, each of some whole frames.

    Every process reads with a handle of its own, opened when it is made; forks may share it, as reads name their place.

    Args:
        path: of the file.
        count: frames in all.
        rows: frames per chunk.
        frame: bytes of a frame.
        places: (C,) where each chunk begins in the file, NOWHERE where it was never written.
        sizes: (C,) its stored bytes.
        skipped: (C,) a bit for each filter that was not applied to it.
        filters: numbers of the filters: a known codec, checksums, both or none.
    """

    path: Path
    count: int
    rows: int
    frame: int
    places: np.ndarray
    sizes: np.ndarray
    skipped: np.ndarray
    filters: Sequence[int]

    def __post_init__(self) -> None:
        self._file = os.open(self.path, os.O_RDONLY)
        finalize(self, os.close, self._file)
        self._checked = np.zeros(len(self.places), bool)
        self._ways: dict[int, tuple[Cut, bool]] = {}

    @classmethod
    def of(cls, stored: h5py.Dataset) -> Self | None:
        """The chunks of a column; None if it is stored in a way that only HDF5 reads, or its index is damaged."""
        path, chunk = Path(stored.file.filename), stored.chunks
        if chunk is None or chunk[1:] != stored.shape[1:] or stored.dtype != np.uint8 or stored.file.userblock_size:
            return None
        filters = filters_of(stored)
        codecs = filters[:-1] if filters[-1:] == [FLETCHER32] else filters
        if len(codecs) > 1 or not CODECS.keys() >= set(codecs):
            return None
        count = ceil(len(stored) / chunk[0])
        if count > path.stat().st_size:  # no file has room for the bookkeeping of so many
            return None
        found = np.full((3, count), NOWHERE, np.int64)

        def keep(one: h5py.h5d.StoreInfo) -> None:
            number = one.chunk_offset[0] // chunk[0]
            if number < count:
                found[:, number] = one.byte_offset, one.size, one.filter_mask

        try:
            stored.id.chunk_iter(keep)
        except (OSError, RuntimeError, ValueError, TypeError, OverflowError):  # as h5py fails on places no file has
            return None
        places, sizes, skipped = found
        return cls(path, len(stored), chunk[0], prod(stored.shape[1:]), places, sizes, skipped, filters)

    def read(self, rows: np.ndarray, frames: np.ndarray) -> list[int]:
        """Decode rows, in the order asked for, into frames (K, ...); returns those that HDF5 has to read, by position.

        Raises:
            DamagedChunkError: compressed bytes are cut, cannot be decoded, or are not those that their checksum is of.
        """
        flat = frames.reshape(len(rows), self.frame)
        order = np.argsort(rows, kind="stable")  # along the file, and every block once
        chunks, within = np.divmod(rows[order], self.rows)
        left, opened, blocks = [], NOWHERE, None
        known: dict[int, np.ndarray] = {}
        frames_in_order = order.tolist(), chunks.tolist(), (within * self.frame).tolist()
        try:
            for position, chunk, start in zip(*frames_in_order, strict=True):
                if chunk != opened:
                    opened, known = chunk, {}
                    try:
                        blocks = self._blocks(chunk)
                    except UnknownFormatError:
                        blocks = None
                if blocks is None:
                    left.append(position)
                    continue
                size, stop = blocks.size, start + self.frame
                if size == self.frame:
                    flat[position] = np.frombuffer(blocks.block(start // size), np.uint8)
                    continue
                for number in range(start // size, (stop - 1) // size + 1):
                    if number not in known:
                        known[number] = np.frombuffer(blocks.block(number), np.uint8)
                    first = number * size
                    low, high = max(start, first), min(stop, first + size)
                    flat[position, low - start : high - start] = known[number][low - first : high - first]
        except DamagedError as error:
            first = chunk * self.rows
            raise DamagedChunkError(first, min(first + self.rows, self.count), error) from error
        return left

    def _blocks(self, chunk: int) -> Blocks | None:
        """The blocks of a chunk, its checksum compared when it is first read; None if it was never written."""
        place, stored = self.places.item(chunk), self.sizes.item(chunk)
        if place == NOWHERE:
            return None
        cut, checking = self._applied(self.skipped.item(chunk))
        if stored <= READ_WHOLE or (checking and not self._checked.item(chunk)):
            content = self._read(place, stored, 0, stored)
            read: Read = partial(_within, content)
            # Not again in later epochs: of a large chunk, most is then not even read.
            if checking and not self._checked.item(chunk):
                if fletcher32(content[:-CHECKSUM]) != int.from_bytes(content[-CHECKSUM:], "little"):
                    raise DamagedError("its checksum is that of other bytes")
                self._checked[chunk] = True
        else:
            read = partial(self._read, place, stored)
        return cut(read, stored - CHECKSUM * checking, self.rows * self.frame)

    def _applied(self, skipped: int) -> tuple[Cut, bool]:
        """Tells what cuts chunks of which these filters were skipped, and whether a checksum is behind them."""
        if skipped not in self._ways:
            applied = [number for bit, number in enumerate(self.filters) if not skipped >> bit & 1]
            cut = next((CODECS[number] for number in applied if number in CODECS), stored_blocks)
            self._ways[skipped] = cut, FLETCHER32 in applied
        return self._ways[skipped]

    def _read(self, place: int, stored: int, start: int, stop: int) -> bytes:
        # Not mapped: of a file that is cut short meanwhile, a map is a bus error.
        content = os.pread(self._file, stop - start, place + start) if start <= stop <= stored else b""
        if len(content) != stop - start:
            raise DamagedError("it ends too early")
        return content


def _within(content: bytes, start: int, stop: int) -> bytes:
    if not start <= stop <= len(content):
        raise DamagedError("it ends too early")
    return content[start:stop]
