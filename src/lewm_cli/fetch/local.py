"""A file of this machine as a source, for file:// URLs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from lewm_cli.errors import LewmError
from lewm_cli.fetch.answer import Answer
from lewm_cli.fetch.partial import Identity
from lewm_cli.fetch.remote import Remote

READ_AT_ONCE = 2**20
"""Bytes."""


class Local:
    """Reads one file.

    Args:
        remote: a file:// URL.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    @contextmanager
    def ask(self, offset: int, identity: Identity | None) -> Iterator[Answer]:
        """See `Source`; a file that has changed meanwhile is read from its beginning.

        Raises:
            LewmError: there is no such file, or it cannot be read.
        """
        path = self._path()
        try:
            with path.open("rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                now = Identity(
                    same_as=self._remote.same_as,
                    modified=str(status.st_mtime_ns),
                    size=status.st_size,
                    sha256=self._remote.sha256 and self._remote.sha256.lower(),
                )
                start = offset if identity is not None and identity.is_part_of(now) else 0
                file.seek(start)
                yield Answer(now, start, self._pieces(file))
        except OSError as error:
            if error.filename != str(path):
                raise
            raise self._unreadable(error) from error

    def close(self) -> None:
        """There is nothing to close."""

    def _pieces(self, file: IO[bytes]) -> Iterator[bytes]:
        while True:
            try:
                piece = file.read(READ_AT_ONCE)
            except OSError as error:
                raise self._unreadable(error) from error
            if not piece:
                return
            yield piece

    def _path(self) -> Path:
        url = urlsplit(self._remote.url)
        path = Path(unquote(url.path))
        if url.netloc not in ("", "localhost") or not path.is_absolute():
            raise LewmError(
                f"{self._remote.url} names no file of this machine; write file:// and the whole path, "
                "such as file:///data/tworoom.tar.zst"
            )
        return path

    def _unreadable(self, error: OSError) -> LewmError:
        return LewmError(
            f"{self._remote.name} cannot be read ({os.strerror(error.errno or 0)}); check the path {self._path()}"
        )
