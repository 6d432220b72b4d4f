"""Downloads one file: resumed after any interruption, checked, and only then given its name."""

import errno
import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx2
from pydantic import ValidationError

from lewm_cli.config import Section
from lewm_cli.errors import LewmError
from lewm_cli.fetch.http_source import Answer, HttpSource, Identity, RetryableError, open_client
from lewm_cli.fetch.remote import Advance, Begin, LocalFile, Remote, Transfer
from lewm_cli.files import PART_SUFFIX, lock_path, locked, remove_stale_parts, sync, write_text
from lewm_cli.system_errors import explain, explained, number_of


@dataclass(frozen=True)
class RetryPolicy:
    """Decides when a download tries again by itself, and when it gives up; times are seconds."""

    silence: float = 60.0  # without a byte, after which a connection counts as lost
    connecting: float = 20.0  # that making a connection may take
    attempts: int = 6  # that may fail in a row without a new byte
    pause: float = 1.0  # before the second attempt; twice as many before every further one
    longest: float = 120.0  # that a pause may take, whatever the server asks for


def download(
    remote: Remote,
    path: Path,
    begin: Begin = lambda transfer: lambda count: None,
    rereading: Begin = lambda transfer: lambda count: None,
    pausing: Callable[[str, float], None] = lambda reason, seconds: None,
    policy: RetryPolicy | None = None,
) -> LocalFile:
    """Downloads a file, resuming what an earlier call left, and gives it its name once it is whole and right.

    Until then its bytes are in hidden files beside `path`, which the next call resumes, whatever ended this one:
    an error, Ctrl-C, SIGKILL, a power failure. The beginning of one file is never joined to the end of another. A
    connection that fails is made again by itself. What is at `path` already is replaced in the end.

    Args:
        begin: shows the download.
        rereading: shows that what an earlier call left is read again for its hash, which may take minutes.
        pausing: gets the reason for every pause before another attempt, and its seconds.

    Raises:
        LewmError: another process downloads it, the server refuses it, gives something else or fails too often, the
            disk is full, or the file has another size or hash than it has to, and then nothing of it is kept.
    """
    with locked(path, f"another process is downloading {path.name} into {path.parent}; wait for it, or stop it"):
        partial = _Partial(path)
        try:
            partial.resume(remote, rereading)
            attempts = _Attempts(remote, partial, begin, pausing, policy or RetryPolicy(), partial.size)
            attempts.run()
            wrong = ""
            if remote.size not in (None, partial.size):
                wrong = f"has {partial.size:,} bytes instead of {remote.size:,}"
            elif remote.sha256 not in (None, partial.sha256):
                wrong = f"has the sha256 {partial.sha256} instead of {remote.sha256}"
            if wrong:
                partial.discard()
                raise LewmError(
                    f"{remote.name} was downloaded and {wrong}, so nothing of it was kept; try the same command again, "
                    "and if it ends like this once more, the server has another file than it should"
                )
            partial.finish()
        except BaseException:
            with suppress(OSError, LewmError):  # what went wrong first is what is told
                partial.sync()
            raise
        finally:
            partial.close()
            if not path.exists() and not partial.part.exists():
                lock_path(path).unlink(missing_ok=True)
    return LocalFile(path, partial.size, partial.sha256, attempts.transferred)


class _Note(Section):
    """A note that is kept beside the bytes."""

    identity: Identity  # what they are the beginning of
    synced: int  # how many of them are on the disk for certain
    boot: str | None  # the run of the operating system that wrote the others


class _Partial:
    """The beginning of the file `path`, in a hidden file beside it that a later process resumes."""

    def __init__(self, path: Path) -> None:
        self.part = path.with_name(f".{path.name}{PART_SUFFIX}")
        self.size = 0
        self.identity: Identity | None = None  # the file that the bytes begin; None if there are none
        self._path, self._note = path, path.with_name(f".{path.name}.identity{PART_SUFFIX}")
        self._hash = hashlib.sha256()
        self._file: IO[bytes] | None = None
        self._synced_at = time.monotonic()
        boot = Path("/proc/sys/kernel/random/boot_id")
        self._boot = boot.read_text().strip() if os.access(boot, os.R_OK) else None

    @property
    def whole(self) -> bool:
        return self.identity is not None and self.size == self.identity.size

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def resume(self, remote: Remote, rereading: Begin) -> None:
        """Goes on with what an earlier process left, if it is the beginning of `remote`; reads it for its hash."""
        with explained(self._path), suppress(FileNotFoundError, ValidationError):
            remove_stale_parts(self._note)
            note = _Note.model_validate_json(self._note.read_bytes())
            size = self.part.stat().st_size
            # After a power failure a file may be longer than what was really written.
            trusted = size if note.boot is not None and note.boot == self._boot else min(size, note.synced)
            if not note.identity.begins(remote) or trusted > (note.identity.size or trusted):
                return
            self._file = self.part.open("r+b", buffering=0)
            self._file.truncate(trusted)
            if trusted:
                advance = rereading(Transfer(trusted, 0))
                while piece := self._file.read(2**20):
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
        """Adds what comes next; every now and then it is made to survive a power failure."""
        assert self._file is not None, "started or resumed"
        rest = memoryview(data)
        try:
            while rest:
                written = self._file.write(rest)
                self._hash.update(rest[:written])
                self.size += written
                rest = rest[written:]
            if time.monotonic() - self._synced_at > 10.0:  # seconds that a power failure may cost
                self.sync()
        except OSError as error:
            folder, number = self._path.parent, number_of(error)
            if number in (errno.ENOSPC, errno.EDQUOT):
                what, remedy = f"the disk under {folder} is full", "free some space"
            elif number == errno.EFBIG:
                what, remedy = f"{folder} takes no larger files", "choose another disk"
            else:
                raise explain(error, self._path, "written") from error
            raise LewmError(
                f"{what} after {self.size:,} bytes of {self._path.name}; they are kept: {remedy}, "
                "and the same command goes on from there"
            ) from error

    def sync(self) -> None:
        """Makes the bytes survive a power failure."""
        if self._file is not None and self.identity is not None:
            sync(self.part)
            with suppress(LewmError):  # on a full disk the older note goes on to be true
                self._write_note(self.identity)

    def finish(self) -> None:
        """Gives the whole file its name."""
        assert self._file is not None, "started or resumed"
        with explained(self._path):
            sync(self.part)
            self.close()
            self.part.replace(self._path)
            sync(self._path.parent)
            self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        self.close()
        self.forget()
        self.part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write_note(self, identity: Identity) -> None:
        write_text(self._note, _Note(identity=identity, synced=self.size, boot=self._boot).model_dump_json())
        self._synced_at = time.monotonic()


@dataclass
class _Attempts:
    """Makes a partial file whole, in as many attempts as it takes."""

    remote: Remote
    partial: _Partial
    begin: Begin
    pausing: Callable[[str, float], None]
    policy: RetryPolicy
    furthest: int
    transferred: int = 0
    advance: Advance | None = None
    answered: bool = False
    restarts: int = 0

    def run(self) -> None:
        partial, failures = self.partial, 0
        timeout = httpx2.Timeout(self.policy.silence, connect=self.policy.connecting)
        with open_client(self.remote, timeout) as client:
            source = HttpSource(self.remote, client)
            while not partial.whole:
                if partial.identity is not None and not partial.identity.begins(self.remote):
                    partial.forget()  # nothing says whether the server still has the same file
                failure = self._attempt(source)
                if partial.size > self.furthest:
                    failures, self.furthest = 0, partial.size
                if failure is not None:
                    failures += 1
                    self._pause(failure, failures)
        if self.advance is None and partial.identity is not None:
            self.begin(Transfer(partial.identity.size, partial.size))

    def _attempt(self, source: HttpSource) -> RetryableError | None:
        try:
            with source.ask(self.partial.size, self.partial.identity) as answer:
                self.answered = True
                self._receive(answer)
        except RetryableError as failure:
            if failure.changed:
                self.partial.forget()
            self.answered = self.answered or not failure.at_once
            return failure
        return None if self.partial.whole else RetryableError("the server gave less than all of it")

    def _receive(self, answer: Answer) -> None:
        partial, name = self.partial, self.remote.name
        size = self.remote.size if self.remote.size is not None else answer.identity.size
        if answer.identity.size not in (None, size):
            raise LewmError(
                f"{name} has {size:,} bytes, but the server offers one of {answer.identity.size:,}; it is another "
                "file, so nothing was downloaded"
            )
        identity = answer.identity.model_copy(update={"size": size})
        started = answer.offset > 0
        if started:
            partial.identity = identity
        for piece in answer.pieces:
            if not started:
                # Not before something has come: the server may fail once more, and this destroys what is there.
                self._start(identity)
                started = True
            if self.advance is None:
                self.advance = self.begin(Transfer(size, partial.size))
            self.transferred += len(piece)
            if size is not None and partial.size + len(piece) > size:
                partial.discard()
                raise LewmError(
                    f"{name} has {size:,} bytes, but the server gave more; nothing of it was kept: try the same "
                    "command again"
                )
            partial.append(piece)
            self.advance(len(piece))
        if not started and not size:  # an empty file
            self._start(identity)
        if answer.identity.size is None:  # the end of what came is the end of the file
            partial.identity = identity.model_copy(update={"size": partial.size})

    def _start(self, identity: Identity) -> None:
        """Begins with nothing, though not too often: what is lost then counts as progress the next time."""
        if self.furthest > 0:
            self.restarts += 1
            if self.restarts >= self.policy.attempts:
                self.partial.forget()
                raise self._given_up(
                    f"the connection was cut {self.restarts} times, and the server cannot go on in the middle of it",
                    "download it where the network is better",
                )
        self.partial.start(identity)
        self.furthest, self.advance = 0, None

    def _pause(self, failure: RetryableError, failures: int) -> None:
        """Waits before the next attempt, unless there were enough, or it is too far off."""
        policy, reason, seconds = self.policy, failure.reason, failure.wait
        if seconds is not None and seconds > policy.longest:
            raise self._given_up(f"{reason} and asks to wait {seconds:,.0f} s", failure.advice)
        if failures >= policy.attempts:
            raise self._given_up(f"{reason}, {failures} times in a row without a new byte", failure.advice)
        if failure.at_once and not self.answered:
            raise self._given_up(reason, failure.advice)
        if seconds is None:
            seconds = min(policy.pause * 2.0 ** (failures - 1), policy.longest)
        if seconds > 0:
            self.pausing(reason, seconds)
            time.sleep(seconds)

    def _given_up(self, reason: str, advice: str) -> LewmError:
        size = self.partial.size
        kept = f"{size:,} bytes are kept, and the same command goes on from there" if size else ""
        return self.remote.error(f"{reason}; {'; '.join(filter(None, (advice, kept))) or 'try the same command later'}")
