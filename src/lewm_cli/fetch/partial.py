"""Keeps the beginning of a file: its bytes on disk, the file that they begin, and their hash."""

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from lewm_cli.config import Section
from lewm_cli.errors import LewmError
from lewm_cli.fetch.remote import Identity, Remote
from lewm_cli.fetch.transfer import Begin, Transfer
from lewm_cli.files import PART_SUFFIX, disk_is_full, explained, remove_stale_parts, sync, write_text

READ_BYTES = 2**20

SYNC_SECONDS = 10.0
"""The time of a download that a power failure may cost."""


class _Note(Section):
    """A note that is kept beside the bytes.

    Args:
        identity: what they are the beginning of.
        synced: how many of them are on the disk for certain.
        boot: the run of the operating system that wrote the others.
    """

    identity: Identity
    synced: int
    boot: str | None


class Partial:
    """The beginning of the file `path`, in a hidden file beside it that a later process resumes.

    Attributes:
        path: what the file will be called.
        size: how many bytes are there.
        identity: the file they begin, as its source describes it; None if there are none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.identity: Identity | None = None
        self._hash = hashlib.sha256()
        self._file: IO[bytes] | None = None
        self._part, self._note = _part_path(path), path.with_name(f".{path.name}.identity{PART_SUFFIX}")
        self._synced_at = time.monotonic()

    @property
    def whole(self) -> bool:
        """Tells if nothing is missing."""
        return self.identity is not None and self.size == self.identity.size

    @property
    def sha256(self) -> str:
        """The hash of the bytes that are there."""
        return self._hash.hexdigest()

    def resume(self, remote: Remote, rereading: Begin) -> None:
        """Goes on with what an earlier process left, if it is the beginning of `remote`.

        Args:
            remote: the file that is wanted.
            rereading: shows what is read once more for its hash.
        """
        with explained(self.path), suppress(FileNotFoundError, ValidationError):
            remove_stale_parts(self._note)
            note = _Note.model_validate_json(self._note.read_bytes())
            size = self._part.stat().st_size
            # After a power failure a file may be longer than what was really written.
            trusted = size if note.boot is not None and note.boot == _boot() else min(size, note.synced)
            if not note.identity.begins(remote) or trusted > (note.identity.size or trusted):
                return
            self._file = self._part.open("r+b", buffering=0)
            self._file.truncate(trusted)
            advance = rereading(Transfer(trusted, 0)) if trusted else None
            while advance is not None and (piece := self._file.read(READ_BYTES)):
                self._hash.update(piece)
                advance(len(piece))
            self.size, self.identity = trusted, note.identity

    def start(self, identity: Identity) -> None:
        """Begins anew, with nothing."""
        with explained(self.path):
            self.close()
            self._file = self._part.open("wb", buffering=0)
        self.forget()
        self.identity = identity
        self._write_note()

    def forget(self) -> None:
        """Counts the bytes as useless; they stay on the disk until others come."""
        self.size, self.identity, self._hash = 0, None, hashlib.sha256()

    def append(self, data: bytes) -> None:
        """Adds what comes next; every now and then it is made to survive a power failure.

        Raises:
            LewmError: the disk is full; the bytes before it are kept.
        """
        assert self._file is not None, "started or resumed"
        rest = memoryview(data)
        with self._full_disk_explained():
            while rest:
                written = self._file.write(rest)
                self._hash.update(rest[:written])
                self.size += written
                rest = rest[written:]
            if time.monotonic() - self._synced_at > SYNC_SECONDS:
                self.sync()

    def sync(self) -> None:
        """Makes the bytes survive a power failure."""
        if self._file is not None and self.identity is not None:
            os.fsync(self._file)
            with suppress(LewmError):  # on a full disk the older note goes on to be true
                self._write_note()

    def finish(self) -> None:
        """Gives the whole file its name."""
        assert self._file is not None, "started or resumed"
        with explained(self.path):
            os.fsync(self._file)
            self.close()
            self._part.replace(self.path)
            sync(self.path.parent)
            self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Removes the bytes."""
        self.close()
        self.forget()
        self._part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the file; what is in it stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write_note(self) -> None:
        assert self.identity is not None
        write_text(self._note, _Note(identity=self.identity, synced=self.size, boot=_boot()).model_dump_json())
        self._synced_at = time.monotonic()

    @contextmanager
    def _full_disk_explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if disk_is_full(error):
                what, remedy = f"the disk under {self.path.parent} is full", "free some space"
            elif error.errno == errno.EFBIG:
                what, remedy = f"{self.path.parent} takes no larger files", "choose another disk"
            else:
                raise
            raise LewmError(
                f"{what} after {self.size:,} bytes of {self.path.name}; they are kept: {remedy}, "
                "and the same command goes on from there"
            ) from error


@contextmanager
def partial_file(path: Path, remote: Remote, rereading: Begin) -> Iterator[Partial]:
    """Yields what there is of `remote` under the name `path`; whatever happens, the bytes are flushed and kept.

    Raises:
        LewmError: it cannot be read or written.
    """
    partial = Partial(path)
    try:
        partial.resume(remote, rereading)
        yield partial
    except BaseException:
        with suppress(OSError, LewmError):  # what went wrong first is what is told
            partial.sync()
        raise
    finally:
        partial.close()


def has_partial(path: Path) -> bool:
    """Tells if some of the file `path` waits to be resumed."""
    return _part_path(path).exists()


def _part_path(path: Path) -> Path:
    return path.with_name(f".{path.name}{PART_SUFFIX}")


def _boot() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
