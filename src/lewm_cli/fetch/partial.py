"""Keeps the beginning of a file: its bytes on disk, the file that they begin, and their hash."""

import errno
import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from lewm_cli.config import Section
from lewm_cli.errors import LewmError
from lewm_cli.fetch.http_source import Identity
from lewm_cli.fetch.remote import Begin, Remote, Transfer
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
        part: the hidden file.
        size: how many bytes are there.
        identity: the file they begin, as its source describes it; None if there are none.
    """

    def __init__(self, path: Path) -> None:
        self.part = path.with_name(f".{path.name}{PART_SUFFIX}")
        self.size = 0
        self.identity: Identity | None = None
        self._path, self._note = path, path.with_name(f".{path.name}.identity{PART_SUFFIX}")
        self._hash = hashlib.sha256()
        self._file: IO[bytes] | None = None
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
        """Goes on with what an earlier process left, if it is the beginning of `remote`; reads it for its hash."""
        with explained(self._path), suppress(FileNotFoundError, ValidationError):
            remove_stale_parts(self._note)
            note = _Note.model_validate_json(self._note.read_bytes())
            size = self.part.stat().st_size
            # After a power failure a file may be longer than what was really written.
            trusted = size if note.boot is not None and note.boot == _boot() else min(size, note.synced)
            if not note.identity.begins(remote) or trusted > (note.identity.size or trusted):
                return
            self._file = self.part.open("r+b", buffering=0)
            self._file.truncate(trusted)
            if trusted:
                advance = rereading(Transfer(trusted, 0))
                while piece := self._file.read(READ_BYTES):
                    self._hash.update(piece)
                    advance(len(piece))
            self.size, self.identity = trusted, note.identity

    def start(self, identity: Identity) -> None:
        """Begins anew, with nothing."""
        with explained(self._path):
            self.close()
            self._file = self.part.open("wb", buffering=0)
        self.forget()
        self.identity = identity
        self._write_note(identity)

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
        try:
            while rest:
                written = self._file.write(rest)
                self._hash.update(rest[:written])
                self.size += written
                rest = rest[written:]
            if time.monotonic() - self._synced_at > SYNC_SECONDS:
                self.sync()
        except OSError as error:
            folder = self._path.parent
            if disk_is_full(error):
                what, remedy = f"the disk under {folder} is full", "free some space"
            elif error.errno == errno.EFBIG:
                what, remedy = f"{folder} takes no larger files", "choose another disk"
            else:
                raise
            raise LewmError(
                f"{what} after {self.size:,} bytes of {self._path.name}; they are kept: {remedy}, "
                "and the same command goes on from there"
            ) from error

    def sync(self) -> None:
        """Makes the bytes survive a power failure."""
        if self._file is not None and self.identity is not None:
            os.fsync(self._file)
            with suppress(LewmError):  # on a full disk the older note goes on to be true
                self._write_note(self.identity)

    def finish(self) -> None:
        """Gives the whole file its name."""
        assert self._file is not None, "started or resumed"
        with explained(self._path):
            os.fsync(self._file)
            self.close()
            self.part.replace(self._path)
            sync(self._path.parent)
            self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Removes the bytes."""
        self.close()
        self.forget()
        self.part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the file; what is in it stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write_note(self, identity: Identity) -> None:
        write_text(self._note, _Note(identity=identity, synced=self.size, boot=_boot()).model_dump_json())
        self._synced_at = time.monotonic()


def _boot() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
