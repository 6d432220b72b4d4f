"""Where the bytes of a stream come from: a file as it is, or what a zstd file decodes to."""

import os
from io import FileIO
from typing import BinaryIO, cast

import zstandard

from lewm_cli.fetch.unpack.faults import Damage
from lewm_cli.fetch.unpack.frames import WINDOW_LIMIT, FrameReader

READ_BYTES = 1 << 18


class Plain:
    """A file as it is.

    Args:
        file: opened for reading without a buffer, at its start.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.declared = os.fstat(file.fileno()).st_size

    def readinto(self, buffer: memoryview, /) -> int:
        """The next bytes."""
        return self._file.readinto(buffer) or 0

    def position(self) -> int:
        """Bytes read so far."""
        return self._file.tell()


class Decoded:
    """What all frames of a zstd file decode to.

    Args:
        file: opened for reading without a buffer, at its start.
    """

    def __init__(self, file: FileIO) -> None:
        self._frames = FrameReader(file)
        decoder = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT)
        self._decoder = decoder.stream_reader(
            cast(BinaryIO, self._frames), read_size=READ_BYTES, read_across_frames=True, closefd=False
        )

    @property
    def declared(self) -> int:
        """Bytes that the frames read so far say they decode to."""
        return self._frames.declared

    def readinto(self, buffer: memoryview, /) -> int:
        """The next decoded bytes.

        Raises:
            Damage: a frame is cut short or altered.
            Refusal: a frame needs a dictionary or too much memory.
        """
        try:
            return self._decoder.readinto(buffer)
        except zstandard.ZstdError as error:
            raise Damage(f"a zstd frame is damaged ({error})") from error

    def position(self) -> int:
        """Bytes of the zstd file read so far."""
        return self._frames.position
