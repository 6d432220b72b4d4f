"""Compressed chunks of HDF5 files as blocks that are decoded one by one, and the checksums behind them.

The formats are those of HDF5's registered filters; for what is none of them, HDF5 itself is there.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from threading import local

import lz4.block
import numpy as np
import zstandard

BLOSC, LZ4, ZSTANDARD, FLETCHER32 = 32001, 32004, 32015, 3
"""Numbers of HDF5 filters."""

WORDS = 2**14
"""Words of 16 bits whose checksum is exact in float64."""

RAMP = np.stack([np.ones(WORDS), np.arange(WORDS, 0.0, -1.0)], axis=1)


class DamagedError(Exception):
    """Compressed bytes that their filter cannot have written."""


class UnknownFormatError(Exception):
    """A chunk of a kind that only HDF5's filter decodes."""


Read = Callable[[int, int], bytes]
"""Reads the bytes of a compressed chunk from a place to before another; raises DamagedError if it has fewer."""

Decode = Callable[[bytes, int], bytes]
"""Decodes compressed bytes to at most this many; raises DamagedError."""


@dataclass(slots=True)
class Blocks:
    """A chunk cut into blocks that were compressed one by one.

    Args:
        size: bytes of a block before compression.
        whole: bytes of all blocks; the last may be smaller.
        places: where the compressed bytes of each begin and end.
    """

    read: Read
    decode: Decode
    size: int
    whole: int
    places: list[tuple[int, int]]

    def block(self, number: int) -> bytes:
        """The bytes of a block; raises DamagedError."""
        size = min(self.size, self.whole - number * self.size)
        content = self.decode(self.read(*self.places[number]), size)
        if len(content) != size:
            raise DamagedError(f"a block of {size} bytes has {len(content)}")
        return content


Cut = Callable[[Read, int, int], Blocks]
"""Cuts a chunk of so many stored bytes, which should hold so many, into its blocks; raises DamagedError."""


def stored_blocks(read: Read, stored: int, whole: int) -> Blocks:
    """A chunk that is not compressed."""
    return Blocks(read, lambda packed, size: packed, whole, whole, [(0, stored)])


def lz4_blocks(read: Read, stored: int, whole: int) -> Blocks:
    """A chunk of filter 32004: big-endian sizes of all and of a block, and the blocks, each after its own size."""
    size, block = struct.unpack(">QI", read(0, 12))
    if size != whole or not block:
        raise DamagedError(f"a chunk of {whole} bytes says that it has {size}")
    places, place = [], 12
    for _ in range(ceil(whole / block)):
        (packed,) = struct.unpack(">I", read(place, place + 4))
        places.append((place + 4, place + 4 + packed))
        place += 4 + packed
        if place > stored:
            raise DamagedError("its compressed bytes end too early")
    return Blocks(read, _lz4_if_smaller, block, whole, places)


def zstandard_blocks(read: Read, stored: int, whole: int) -> Blocks:
    """A chunk of filter 32015: one frame of Zstandard."""
    return Blocks(read, _zstandard, whole, whole, [(0, stored)])


def blosc_blocks(read: Read, stored: int, whole: int) -> Blocks:
    """A chunk of filter 32001, as released recordings have them, if its bytes are neither shuffled nor of other codecs.

    Blosc compresses blocks of some 100 kB, so that one frame does not cost the whole chunk.
    """
    version, _, flags, width, size, block, packed = struct.unpack("<4B3I", read(0, 16))
    codec = {1: _lz4_if_smaller, 4: _zstandard_if_smaller}.get(flags >> 5)
    if version != 2 or width != 1 or flags & 0b100 or codec is None:
        raise UnknownFormatError
    if size != whole or packed != stored or not block:
        raise DamagedError(f"a chunk of {whole} bytes in {stored} says that it has {size} in {packed}")
    count = ceil(whole / block)
    if flags & 0b10:  # not compressed
        places = [(16 + number * block, 16 + min(whole, (number + 1) * block)) for number in range(count)]
    else:
        starts = np.frombuffer(read(16, 16 + 4 * count), "<u4").astype(int)
        ends = [struct.unpack("<I", read(start, start + 4))[0] + start + 4 for start in starts.tolist()]
        places = list(zip((starts + 4).tolist(), ends, strict=True))
    return Blocks(read, codec, block, whole, places)


CODECS: dict[int, Cut] = {
    BLOSC: blosc_blocks,
    LZ4: lz4_blocks,
    ZSTANDARD: zstandard_blocks,
}


def fletcher32(stored: bytes) -> int:
    """The checksum that HDF5 writes behind a chunk: of its bytes as big-endian words, the last filled up with 0.

    The sum of all words, and in the upper half the sum of all sums on the way, both modulo 65535.
    """
    content = np.frombuffer(stored, np.uint8)
    count = ceil(len(content) / 2)
    width = min(max(count, 1), WORDS)
    words = np.zeros((max(1, ceil(count / width)), width))
    places = words.reshape(-1)[words.size - count :]  # zeros in front change neither sum
    places[: len(content) // 2] = content[: len(content) // 2 * 2].view(">u2")
    if len(content) % 2:
        places[-1] = int(content[-1]) << 8
    sums = (words @ RAMP[-width:]).astype(np.int64)
    after = width * np.arange(len(words) - 1, -1, -1)
    low, high = int(sums[:, 0].sum()), int((sums[:, 1] + after * sums[:, 0]).sum())
    return _modulo(high) << 16 | _modulo(low)


def _modulo(value: int) -> int:
    """Reduce a sum as HDF5 does: 65535 stays, and only 0 becomes 0."""
    return (value - 1) % 65535 + 1 if value else 0


def _lz4_if_smaller(packed: bytes, size: int) -> bytes:
    """Decode LZ4, but for blocks that would not get smaller, which it leaves as they are, as Blosc does."""
    if len(packed) == size:
        return packed
    try:
        content: bytes = lz4.block.decompress(packed, uncompressed_size=size)
    except (lz4.block.LZ4BlockError, ValueError) as error:
        raise DamagedError(f"LZ4: {error}") from error
    return content


def _zstandard_if_smaller(packed: bytes, size: int) -> bytes:
    return packed if len(packed) == size else _zstandard(packed, size)


def _zstandard(packed: bytes, size: int) -> bytes:
    try:
        claimed = zstandard.get_frame_parameters(packed).content_size
        if claimed not in (size, zstandard.CONTENTSIZE_UNKNOWN):  # else whatever it claims is allocated
            raise DamagedError(f"a block of {size} bytes says that it has {claimed}")
        if not hasattr(_own, "zstandard"):
            _own.zstandard = zstandard.ZstdDecompressor()
        content: bytes = _own.zstandard.decompress(packed, max_output_size=size)
    except zstandard.ZstdError as error:
        raise DamagedError(f"Zstandard: {error}") from error
    return content


_own = local()
"""Decompressors of this thread: one serves only one thread at a time."""
