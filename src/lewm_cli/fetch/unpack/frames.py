"""The frames of a zstd file, followed as its bytes go by.

The decoder does not say when its input ends in the middle of a frame, so the frames are walked here (RFC 8878): block
after block, headers only. What is read is checked before the decoder sees it.
"""

from collections.abc import Callable
from io import FileIO

from lewm_cli.fetch.unpack.faults import Damage, Refusal, gigabytes

WINDOW_LIMIT = 1 << 27
"""Bytes of memory for looking back, the bound of `zstd -d` and `tar --zstd` themselves: whatever they unpack without
being told `--long=31` is unpacked here, `zstd -19 --long` and `--ultra -22` included, and nothing needs more memory."""

MAGIC = 0xFD2FB528
SKIPPABLE = range(0x184D2A50, 0x184D2A60)
DICTIONARY_BYTES = (0, 1, 2, 4)
RLE, RESERVED = 1, 3
CHECKSUM_BYTES = 4


class FrameReader:
    """A zstd file whose frames are followed while it is read.

    Args:
        file: opened for reading, at its start.

    Attributes:
        position: bytes read.
        declared: bytes that the frames so far say they unpack to; those that do not say count as none.
    """

    def __init__(self, file: FileIO) -> None:
        self.position = 0
        self.declared = 0
        self._file = file
        self._held = b""
        self._skip = 0
        self._checksum = self._single = False
        self._dictionary_bytes = 0
        self._expect(4, self._magic)

    def read(self, size: int) -> bytes:
        """At most `size` more bytes, and none at the end.

        Raises:
            Damage: the file ends within a frame, or what follows one is no frame.
            Refusal: a frame needs a dictionary or more memory than `WINDOW_LIMIT`.
        """
        data = self._file.read(size)
        if data:
            self._follow(data)
        elif self._skip or self._held or self._next != self._magic:
            raise Damage(f"it ends within a zstd frame, after {gigabytes(self.position)}")
        return data

    def _follow(self, data: bytes) -> None:
        at, end = 0, len(data)
        while at < end:
            if self._skip:
                step = min(self._skip, end - at)
                self._skip -= step
                at += step
                continue
            field = self._held + data[at : at + self._need - len(self._held)]
            at += len(field) - len(self._held)
            if len(field) < self._need:
                self._held = field
                break
            self._held = b""
            self._next(field)
        self.position += end

    def _expect(self, need: int, following: Callable[[bytes], None], skip: int = 0) -> None:
        self._need, self._next, self._skip = need, following, skip

    def _magic(self, field: bytes) -> None:
        magic = int.from_bytes(field, "little")
        if magic == MAGIC:
            self._expect(1, self._descriptor)
        elif magic in SKIPPABLE:
            self._expect(4, self._skippable)
        else:
            raise Damage("something that is not zstd follows its last zstd frame")

    def _skippable(self, field: bytes) -> None:
        self._expect(4, self._magic, skip=int.from_bytes(field, "little"))

    def _descriptor(self, field: bytes) -> None:
        flags = field[0]
        if flags & 0b1000:
            raise Damage("a zstd frame uses a feature that does not exist")
        self._single = bool(flags & 0b100000)
        self._checksum = bool(flags & 0b100)
        self._dictionary_bytes = DICTIONARY_BYTES[flags & 0b11]
        size_flag = flags >> 6
        size_bytes = (1 << size_flag) if size_flag else int(self._single)
        self._expect((0 if self._single else 1) + self._dictionary_bytes + size_bytes, self._header)

    def _header(self, field: bytes) -> None:
        at = 0 if self._single else 1
        dictionary, size_field = field[at : at + self._dictionary_bytes], field[at + self._dictionary_bytes :]
        if any(dictionary):
            raise Refusal(
                f"it was compressed with the zstd dictionary {int.from_bytes(dictionary, 'little')}, which it lacks"
            )
        size = int.from_bytes(size_field, "little") + (256 if len(size_field) == 2 else 0)
        base = 1 << (10 + (field[0] >> 3))
        window = size if self._single else base + (base >> 3) * (field[0] & 0b111)
        if window > WINDOW_LIMIT:
            raise Refusal(
                f"unpacking it takes {window >> 20} MiB of memory for looking back (zstd --long), and at most "
                f"{WINDOW_LIMIT >> 20} MiB are given to it",
                "unpack it with `zstd -d --long=31`",
            )
        self.declared += size
        self._expect(3, self._block)

    def _block(self, field: bytes) -> None:
        header = int.from_bytes(field, "little")
        last, kind, size = header & 1, header >> 1 & 0b11, header >> 3
        if kind == RESERVED:
            raise Damage("a zstd frame has a block of a kind that does not exist")
        content = 1 if kind == RLE else size
        if not last:
            self._expect(3, self._block, skip=content)
        else:
            self._expect(4, self._magic, skip=content + (CHECKSUM_BYTES if self._checksum else 0))
