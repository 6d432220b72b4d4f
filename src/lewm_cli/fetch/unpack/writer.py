"""Files come into being in one folder, hashed while they are written, and never more of them than allowed."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lewm_cli.fetch.unpack.faults import Refusal, gigabytes, quoted
from lewm_cli.fetch.unpack.stream import Stream
from lewm_cli.files import explained

WRITE_BYTES = 1 << 17
"""Written at once: for larger pieces the kernel looks for larger free pages, which takes longer."""


@dataclass(frozen=True)
class UnpackedFile:
    """A file that was unpacked.

    Args:
        path: relative to the folder that it was unpacked into.
        size: bytes.
        sha256: of its content, hexadecimal.
    """

    path: PurePosixPath
    size: int
    sha256: str


class Writer:
    """Writes what a stream gives.

    Args:
        folder: new and empty; nothing is written anywhere else.
        limit: bytes that may be written in all.
        stream: hashes what is written.
    """

    def __init__(self, folder: Path, limit: int, stream: Stream) -> None:
        self._folder = folder
        self._limit = limit
        self._stream = stream
        self._written = 0

    def check_fits(self, path: PurePosixPath, size: int) -> None:
        """Whether `size` more bytes may be written.

        Raises:
            Refusal: they may not.
        """
        if self._written + size > self._limit:
            raise Refusal(
                f"with {quoted(str(path))} it unpacks to {gigabytes(self._written + size)} or more, "
                f"and {gigabytes(self._limit)} were declared or are free",
                "free some space or choose another disk with --home, and if there is enough do without it",
            )

    def write(self, path: PurePosixPath, pieces: Iterable[memoryview]) -> UnpackedFile:
        """Write a file that is not there yet; what its mode was in the archive does not matter.

        Raises:
            Refusal: it is larger than allowed.
            LewmError: the folder cannot be written or the disk is full.
        """
        target = self._folder / path
        digest = hashlib.sha256()
        size = 0
        with explained(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        try:
            for piece in pieces:
                self.check_fits(path, len(piece))
                with explained(target):
                    _write_all(handle, piece)
                self._stream.hashed(digest.update, piece)
                self._written += len(piece)
                size += len(piece)
        finally:
            os.close(handle)
        return UnpackedFile(path, size, self._stream.hashed(digest.hexdigest).result())


def _write_all(handle: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(handle, piece[:WRITE_BYTES]) :]
