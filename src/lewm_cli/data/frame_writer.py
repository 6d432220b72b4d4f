"""Frames written into an HDF5 file one chunk each, packed by us, so that any frame is read without its neighbors.

The file is plain HDF5, which whatever has hdf5plugin reads. Frames are packed beside the writer, in processes of their
own, for HDF5 itself packs under one lock.
"""

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from io import SEEK_END, SEEK_SET
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import lz4.block
import numpy as np
import numpy.typing as npt
import zstandard

from lewm_cli.data.compression import FLETCHER32, LZ4, ZSTANDARD, fletcher32
from lewm_cli.data.hdf5_file import filters_of

ZSTD_LEVEL = 3
LZ4_LEVEL = 4
"""The level of LZ4-HC, whose blocks any LZ4 unpacks."""

HARDLY = 0.5
"""Share of its bytes that a frame has left when it is packed quickly; above it, as of cameras, a better packing takes
twenty times as long and saves a few percent."""

KEPT_ROWS = 4096
"""Frames after which what was written is made safe from a kill."""

COPIED_FROM = ("packed_from", "packed_name")
"""Attributes of frames that were packed from another recording: its fingerprint, and its file without suffix."""

STAND_IN = b"lewm: it"
"""Begins what is written in place of a frame that lies in the file already; nothing else of HDF5 begins so."""

Places = npt.NDArray[np.int64]
"""(K, 2) first byte and number of bytes of frames in the file."""


class Codec(StrEnum):
    """A lossless packing of frames that HDF5 knows as a registered filter."""

    ZSTD = "zstd"
    LZ4 = "lz4"

    @property
    def filter(self) -> Any:
        """The filter that unpacks it, with options for tools that write more with it."""
        return hdf5plugin.Zstd(clevel=ZSTD_LEVEL) if self is Codec.ZSTD else hdf5plugin.LZ4()


USUAL = Codec.LZ4
"""The codec where none is chosen: it unpacks twice as fast, at about the same size."""


@dataclass(frozen=True)
class EncodedFrames:
    """Frames as they stand in the file: their codec, their side in pixels, and the bytes of each, with a checksum."""

    codec: Codec
    size: int
    chunks: tuple[bytes, ...]


@dataclass(frozen=True)
class Packing:
    """The way that frames are packed one chunk each.

    Args:
        size: side of a frame in pixels.
        source: fingerprint of the recording that they were packed from; None if they were recorded so.
        source_name: that recording's file without suffix.
    """

    codec: Codec
    size: int
    source: str | None = None
    source_name: str | None = None

    def __str__(self) -> str:
        return f"{self.codec}, {self.size} x {self.size}, one frame per chunk"


def encode(frames: npt.NDArray[np.uint8], codec: Codec) -> EncodedFrames:
    """Pack frames (K, size, size, 3) as HDF5's filters would: the codec, then the checksum fletcher32."""
    pack = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress if codec is Codec.ZSTD else _lz4
    packed = (pack(np.ascontiguousarray(frame).data.cast("B")) for frame in frames)
    return EncodedFrames(codec, frames.shape[1], tuple(each + struct.pack("<I", fletcher32(each)) for each in packed))


def _lz4(frame: memoryview) -> bytes:
    packed = lz4.block.compress(frame, store_size=False)
    if len(packed) < HARDLY * len(frame):
        packed = lz4.block.compress(frame, mode="high_compression", compression=LZ4_LEVEL, store_size=False)
    body = packed if len(packed) < len(frame) else bytes(frame)  # stored as it is if that is shorter
    return struct.pack(">QII", len(frame), len(frame), len(body)) + body


def stored_packing(pixels: h5py.Dataset) -> Packing | None:
    """The way that frames are packed, as they lie in the file; None if they are not one chunk each, or in no codec."""
    first, *others = filters_of(pixels) or [0]
    codec = {LZ4: Codec.LZ4, ZSTANDARD: Codec.ZSTD}.get(first)
    one_each = pixels.ndim == 4 and pixels.chunks == (1, *pixels.shape[1:])
    if codec is None or not one_each or others not in ([], [FLETCHER32]):
        return None
    return Packing(codec, pixels.shape[1], *(pixels.attrs.get(key) for key in COPIED_FROM))


def claimed_packing(pixels: h5py.Dataset) -> tuple[str, int] | None:
    """Codec and size as the attributes say; None if they say nothing."""
    codec, size = pixels.attrs.get("packed_codec"), pixels.attrs.get("packed_size")
    return None if codec is None or size is None else (str(codec), int(size))


class FrameWriter:
    """Writes one HDF5 file: frames as they come, everything else into `file` at the end.

    HDF5 keeps some of what it is given for later, and crashes if it cannot write it then. So it writes through a file
    that tells it that all is well, and tells us what the disk said.

    Args:
        file: the HDF5 file, for everything but the frames.
        rows: number of frames that will come; None if nobody knows.
    """

    def __init__(self, disk: "_Disk", file: h5py.File, rows: int | None) -> None:
        self.file = file
        self._disk, self._rows, self._written = disk, rows, 0

    def append(self, frames: EncodedFrames) -> Places:
        """Write frames behind those that are there, all of one codec and size; say where they went.

        Raises:
            OSError: the disk is full, or fails.
        """
        pixels = self.file.get("pixels") or self._created(frames)
        rows = range(self._written, self._written + len(frames.chunks))
        self._written = rows.stop
        if self._rows is None:
            pixels.resize(rows.stop, axis=0)
        places = np.empty((len(rows), 2), np.int64)
        for place, row, chunk in zip(places, rows, frames.chunks, strict=True):
            self._disk.awaited = chunk
            pixels.id.write_direct_chunk((row, 0, 0, 0), chunk)
            # HDF5 would look through all chunks to say it.
            place[:] = self._disk.found, len(chunk)
        self._disk.check()
        return places

    def take_over(self, codec: Codec, size: int, places: Places) -> bool:
        """Take frames that an earlier writer of this file left; False if HDF5 would put them elsewhere.

        HDF5 puts the same calls in the same places, so it is told of frames of these lengths, and none is written.
        """
        stand_ins = (STAND_IN.ljust(length, b"\0") for length in places[:, 1])
        return np.array_equal(self.append(EncodedFrames(codec, size, tuple(stand_ins))), places)

    def _created(self, frames: EncodedFrames) -> h5py.Dataset:
        shape = (frames.size, frames.size, 3)
        pixels = self.file.create_dataset(
            "pixels",
            shape=(self._rows or 0, *shape),
            maxshape=(self._rows, *shape),
            dtype=np.uint8,
            chunks=(1, *shape),
            fletcher32=True,  # of the packed bytes, so it costs little
            **frames.codec.filter,
        )
        pixels.attrs.update(packed_codec=str(frames.codec), packed_size=frames.size)
        return pixels

    def keep(self, appended: Iterable[tuple[bytes, int]], journal: Path) -> None:
        """Make what is appended survive a kill or a power failure, now and then and at the end, whatever ends it.

        Args:
            appended: appends as it is gone through; yields what is to be noted, and the number of its frames.
            journal: the file that it is noted in, behind what stands there.
        """
        notes, rows = list[bytes](), 0

        def note() -> None:
            # The frames first: what says where they are says that they are there.
            self._disk.sync()
            with journal.open("ab") as file:
                file.write(b"".join(notes))
                file.flush()
                os.fsync(file.fileno())
            notes.clear()

        try:
            for content, count in appended:
                notes.append(content)
                rows += count
                if rows >= KEPT_ROWS:
                    note()
                    rows = 0
        except BaseException:
            with suppress(OSError):  # what went wrong first is what is told
                note()
            raise
        note()


@contextmanager
def written_frames(path: Path, rows: int | None = None) -> Iterator[FrameWriter]:
    """Open a file to write recorded frames into; what lies in it stays where nothing else is written.

    After an error the file may be no HDF5 file, but the frames that were appended lie in it, to be taken over.

    Raises:
        OSError: the disk is full, or fails.
    """
    with _Disk(path) as disk:
        file = h5py.File(disk, "w", libver=("v110", "v110"))
        try:
            yield FrameWriter(disk, file, rows)
        except BaseException:
            with suppress(Exception):  # what went wrong first is what is told
                file.close()
            raise
        file.close()
        disk.check()


class _Disk:
    """A file as HDF5 wants to see it: empty at first, whatever lies in it, and never failing.

    Attributes:
        awaited: bytes whose place is remembered as `found` when they are written.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "r+b" if path.exists() else "w+b", buffering=0)  # noqa: SIM115  (closed with this)
        self._place = self._end = 0
        self._failure: OSError | None = None
        self.awaited, self.found = b"", -1

    def __enter__(self) -> "_Disk":
        return self

    def __exit__(self, *details: object) -> None:
        self._file.close()

    def check(self) -> None:
        """Raises OSError if something could not be written."""
        if self._failure:
            raise self._failure

    def sync(self) -> None:
        """Flush the file to the disk."""
        os.fsync(self._file.fileno())

    # What HDF5 calls, through h5py

    def seek(self, place: int, whence: int = SEEK_SET) -> int:
        self._place = self._end + place if whence == SEEK_END else place
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, count: int = -1) -> bytes:
        raise NotImplementedError  # h5py looks for it, and calls readinto

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        self._file.seek(self._place)
        count = self._file.readinto(view)
        view[count:] = bytes(len(view) - count)
        return len(view)

    def write(self, content: Any) -> int:
        view = memoryview(content)
        self._end = max(self._end, self._place + len(view))
        head = view[: len(STAND_IN)].tobytes()
        if len(view) == len(self.awaited) and self.awaited.startswith(head):
            self.found = self._place
        if head != STAND_IN:
            self._attempt(lambda: self._write_all(view))
        return len(view)

    def truncate(self, size: int) -> None:
        self._end = size
        self._attempt(lambda: self._file.truncate(size))

    def flush(self) -> None:
        pass

    def _write_all(self, view: memoryview) -> None:
        self._file.seek(self._place)
        while len(view):  # a disk that is nearly full takes a part
            view = view[self._file.write(view) :]

    def _attempt(self, change: Callable[[], object]) -> None:
        try:
            change()
        except OSError as error:
            self._failure = self._failure or error
