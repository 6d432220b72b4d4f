"""Building archives by hand, honest or not: tar headers, zstd frames, HDF5 files."""

import io
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import zstandard

BLOCK = 512
POSIX, GNU, V7 = b"ustar\x0000", b"ustar  \0", b"\0" * 8


def octal(value: int, width: int) -> bytes:
    """A number as tar headers hold it."""
    digits = b"%0*o\0" % (width - 1, value)
    assert len(digits) == width
    return digits


def header(
    name: bytes,
    size: int | bytes = 0,
    kind: bytes = b"0",
    *,
    link: bytes = b"",
    magic: bytes = POSIX,
    prefix: bytes = b"",
    mode: int = 0o644,
) -> bytes:
    """A tar header with the right checksum."""
    numbers = octal(mode, 8) + octal(0, 8) + octal(0, 8)
    size_field = size if isinstance(size, bytes) else octal(size, 12)
    head = name.ljust(100, b"\0") + numbers + size_field.ljust(12, b"\0") + octal(0, 12) + b" " * 8
    head += kind + link.ljust(100, b"\0") + magic + b"\0" * 80 + prefix
    head = head.ljust(BLOCK, b"\0")
    assert len(head) == BLOCK
    return with_checksum(head)


def with_checksum(head: bytes) -> bytes:
    """The same header with the checksum that it should have."""
    blank = head[:148] + b" " * 8 + head[156:]
    return head[:148] + b"%06o\0 " % sum(blank) + head[156:]


def padded(content: bytes) -> bytes:
    """Content up to a whole number of blocks."""
    return content + b"\0" * (-len(content) % BLOCK)


def member(name: bytes, content: bytes = b"", kind: bytes = b"0", **fields: object) -> bytes:
    """A member of a tar archive."""
    return header(name, len(content), kind, **fields) + padded(content)


def record(key: bytes, value: bytes) -> bytes:
    """A record of an extended header, which begins with its own length."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


def extended(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """An extended header (POSIX pax)."""
    return member(b"PaxHeaders/x", b"".join(record(*pair) for pair in records), kind)


def tar(*members: bytes) -> bytes:
    """A tar archive with its end mark."""
    return b"".join(members) + b"\0" * (2 * BLOCK)


def zst(content: bytes, level: int = 3, **options: object) -> bytes:
    """A zstd frame with a checksum."""
    return zstandard.ZstdCompressor(level=level, write_checksum=True, **options).compress(content)


def rle_frame(blocks: int, *, declared: int | None = None, window: int = 0x50) -> bytes:
    """A frame that repeats one zero: four bytes for every 128 KiB.

    Args:
        blocks: of 128 KiB.
        declared: the size that it claims to decode to, if it claims one.
        window: the byte that describes its window; 1 MiB.
    """
    size = b"" if declared is None else declared.to_bytes(8, "little")
    head = b"\x28\xb5\x2f\xfd" + bytes([0b11000000 if size else 0, window]) + size
    body = [(1 << 17 << 3 | 1 << 1 | (i == blocks - 1)).to_bytes(3, "little") + b"\0" for i in range(blocks)]
    return head + b"".join(body)


def skippable(content: bytes) -> bytes:
    """A frame that decoders pass over."""
    return b"\x5a\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content


def hdf5(fill: Callable[[h5py.File], object] = lambda file: None, rows: int = 100) -> bytes:
    """An HDF5 file with a recorded column, and what `fill` adds."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["action"] = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
        fill(file)
    return buffer.getvalue()


def sample_hdf5(path: Path, frames: int = 40) -> bytes:
    """Some half-compressible frames in a file, as released ones are."""
    rng = np.random.default_rng(0)
    pixels = np.repeat(rng.integers(0, 255, (frames, 64, 32, 3), dtype=np.uint8), 2, axis=2)
    with h5py.File(path, "w") as file:
        file.create_dataset("pixels", data=pixels, chunks=(10, 64, 64, 3))
        file["action"] = np.zeros((frames, 2), np.float32)
    return path.read_bytes()
