"""A file of this machine as the source of a download, for file:// URLs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from lewm_cli.errors import LewmError
from lewm_cli.fetch.remote import Answer, Identity, Remote

READ_BYTES = 2**20


class LocalFile:
    """Reads one file.

    Args:
        remote: a file:// URL.

    Raises:
        LewmError: the URL names no file of this machine.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        url = urlsplit(remote.url)
        self._path = Path(unquote(url.path))
        if url.netloc not in ("", "localhost") or not self._path.is_absolute():
            raise LewmError(
                f"{remote.url} names no file of this machine; write file:// and the whole path, "
                "such as file:///data/tworoom.tar.zst"
            )

    def close(self) -> None:
        """Does nothing."""

    @contextmanager
    def ask(self, offset: int, identity: Identity | None) -> Iterator[Answer]:
        """Yields the file from a byte on; one that has changed meanwhile from its beginning.

        Raises:
            LewmError: there is no such file, or it cannot be read.
        """
        with self._explained():
            file = self._path.open("rb", buffering=0)
        with file:
            status = os.fstat(file.fileno())
            now = Identity(
                same_as=self._remote.same_as,
                modified=str(status.st_mtime_ns),
                size=status.st_size,
                sha256=self._remote.sha256,
            )
            start = offset if identity is not None and identity.is_part_of(now) else 0
            file.seek(start)
            yield Answer(now, start, self._pieces(file))

    def _pieces(self, file: IO[bytes]) -> Iterator[bytes]:
        while True:
            with self._explained():
                piece = file.read(READ_BYTES)
            if not piece:
                return
            yield piece

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LewmError(
                f"{self._remote.name} cannot be read ({os.strerror(error.errno or 0)}); check the path {self._path}"
            ) from error
