"""Downloads one file: resumed after any interruption, checked, and only then given its name."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2

from lewm_cli.errors import LewmError
from lewm_cli.fetch.http_source import Answer, ChangedError, HttpSource, Identity, RetryableError, open_client
from lewm_cli.fetch.partial import Partial
from lewm_cli.fetch.remote import Advance, Begin, LocalFile, Remote, Transfer
from lewm_cli.files import lock_path, locked

Pausing = Callable[[str, float], None]
"""Gets the reason for a pause and its seconds, before it begins."""


@dataclass(frozen=True)
class RetryPolicy:
    """Decides when a download tries again by itself, and when it gives up.

    Args:
        silence: seconds without a byte after which a connection counts as lost.
        connecting: seconds that making a connection may take.
        attempts: how often in a row it may fail without a new byte.
        pause: seconds before the second attempt; twice as many before every further one.
        longest: seconds that a pause may take, whatever the server asks for.
    """

    silence: float = 60.0
    connecting: float = 20.0
    attempts: int = 6
    pause: float = 1.0
    longest: float = 120.0


def download(
    remote: Remote,
    path: Path,
    begin: Begin = lambda transfer: lambda count: None,
    rereading: Begin = lambda transfer: lambda count: None,
    pausing: Pausing = lambda reason, seconds: None,
    policy: RetryPolicy | None = None,
) -> LocalFile:
    """Downloads a file, resuming what an earlier call left, and gives it its name once it is whole and right.

    Until then its bytes are in hidden files beside `path`, which the next call resumes, whatever ended this one:
    an error, Ctrl-C, SIGKILL, a power failure. The beginning of one file is never joined to the end of another. A
    connection that fails is made again by itself. What is at `path` already is replaced in the end.

    Args:
        begin: shows the download.
        rereading: shows that what an earlier call left is read from disk once more, for its hash; tens of gigabytes of
            it take minutes.
        pausing: hears of every pause before the next attempt.

    Raises:
        LewmError: another process downloads it, the server refuses it or gives something else, the network or the
            server fails too often, the disk is full, or the file has another size or hash than it has to; in the last
            case nothing of it is kept.
    """
    with locked(path, f"another process is downloading {path.name} into {path.parent}; wait for it, or stop it"):
        partial = Partial(path)
        try:
            partial.resume(remote, rereading)
            attempts = _Attempts(remote, partial, begin, pausing, policy or RetryPolicy(), partial.size)
            attempts.run()
            _check(remote, partial)
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


@dataclass
class _Attempts:
    """Makes a partial file whole, in as many attempts as it takes."""

    remote: Remote
    partial: Partial
    begin: Begin
    pausing: Pausing
    policy: RetryPolicy
    furthest: int
    transferred: int = 0
    advance: Advance | None = None
    answered: bool = False
    restarts: int = 0

    def run(self) -> None:
        """Asks again until nothing is missing.

        Raises:
            LewmError: it is of no use to go on asking.
        """
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
        except ChangedError:
            self.partial.forget()
            return RetryableError("the server has another file every time", wait=0.0)
        except RetryableError as failure:
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
        identity = answer.identity.with_size(size)
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
            partial.identity = identity.with_size(partial.size)

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


def _check(remote: Remote, partial: Partial) -> None:
    """Refuses what is whole but not what it has to be, and keeps nothing of it."""
    if remote.size is not None and partial.size != remote.size:
        wrong = f"has {partial.size:,} bytes instead of {remote.size:,}"
    elif remote.sha256 is not None and partial.sha256 != remote.sha256:
        wrong = f"has the sha256 {partial.sha256} instead of {remote.sha256}"
    else:
        return
    partial.discard()
    raise LewmError(
        f"{remote.name} was downloaded and {wrong}, so nothing of it was kept; try the same command again, and if it "
        "ends like this once more, the server has another file than it should"
    )
