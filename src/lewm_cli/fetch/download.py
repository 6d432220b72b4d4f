"""Downloads one file: resumed after any interruption, checked, and only then given its name."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2

from lewm_cli.errors import LewmError
from lewm_cli.fetch.http_source import HttpSource, open_client
from lewm_cli.fetch.partial import Partial, has_partial, partial_file
from lewm_cli.fetch.remote import Answer, ChangedError, Identity, Remote, RetryableError
from lewm_cli.fetch.transfer import Advance, Begin, Transfer, unshown
from lewm_cli.files import lock_path, locked


@dataclass(frozen=True)
class LocalFile:
    """A published file that is on this disk.

    Args:
        path: where it lies.
        size: bytes.
        sha256: in hexadecimal, lower case.
        transferred: bytes that came this time; more than `size` if something had to come twice.
    """

    path: Path
    size: int
    sha256: str
    transferred: int = 0


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


Pausing = Callable[[str, float], None]
"""Gets the reason for a pause and its seconds, before it begins."""


def download(
    remote: Remote,
    path: Path,
    begin: Begin = unshown,
    rereading: Begin = unshown,
    pausing: Pausing = lambda reason, seconds: None,
    policy: RetryPolicy | None = None,
) -> LocalFile:
    """Downloads a file, resuming what an earlier call left, and gives it its name once it is whole and right.

    Until then its bytes are in hidden files beside `path`, which the next call resumes, whatever ended this one:
    an error, Ctrl-C, SIGKILL, a power failure. The beginning of one file is never joined to the end of another. A
    connection that fails is made again by itself. What is at `path` already is replaced in the end.

    Args:
        remote: what to download, and its size and hash if they are known.
        path: what to call it.
        begin: shows the download.
        rereading: shows that what an earlier call left is read from disk once more, for its hash; tens of gigabytes of
            it take minutes.
        pausing: hears of every pause before the next attempt.
        policy: how long to wait, and how often to try again.

    Raises:
        LewmError: another process downloads it, the server refuses it or gives something else, the network or the
            server fails too often, the disk is full, or the file has another size or hash than it has to; in the last
            case nothing of it is kept.
    """
    with locked(path, f"another process is downloading {path.name} into {path.parent}; wait for it, or stop it"):
        try:
            with partial_file(path, remote, rereading) as partial:
                attempts = _Attempts(remote, partial, begin, pausing, policy or RetryPolicy())
                attempts.run()
                _check(remote, partial)
                partial.finish()
        finally:
            if not path.exists() and not has_partial(path):
                lock_path(path).unlink(missing_ok=True)
    return LocalFile(path, partial.size, partial.sha256, attempts.transferred)


class _Attempts:
    """Makes a partial file whole, in as many attempts as it takes."""

    def __init__(self, remote: Remote, partial: Partial, begin: Begin, pausing: Pausing, policy: RetryPolicy) -> None:
        self.transferred = 0
        self._remote = remote
        self._partial = partial
        self._begin = begin
        self._pausing = pausing
        self._policy = policy
        self._advance: Advance | None = None
        self._answered = False
        self._furthest = partial.size
        self._restarts = 0

    def run(self) -> None:
        """Asks again until nothing is missing.

        Raises:
            LewmError: it is of no use to go on asking.
        """
        partial, failures = self._partial, 0
        timeout = httpx2.Timeout(self._policy.silence, connect=self._policy.connecting)
        with open_client(self._remote, timeout) as client:
            source = HttpSource(self._remote, client)
            while not partial.whole:
                if partial.identity is not None and not partial.identity.begins(self._remote):
                    partial.forget()  # nothing says whether the server still has the same file
                failure = self._attempt(source)
                if partial.size > self._furthest:
                    failures, self._furthest = 0, partial.size
                if failure is not None:
                    failures += 1
                    self._pause(failure, failures)
        if self._advance is None and partial.identity is not None:
            self._begin(Transfer(partial.identity.size, partial.size))

    def _attempt(self, source: HttpSource) -> RetryableError | None:
        try:
            with source.ask(self._partial.size, self._partial.identity) as answer:
                self._answered = True
                self._receive(answer)
        except ChangedError:
            self._partial.forget()
            return RetryableError("the server has another file every time", wait=0.0)
        except RetryableError as failure:
            self._answered = self._answered or not failure.at_once
            return failure
        return None if self._partial.whole else RetryableError("the server gave less than all of it")

    def _receive(self, answer: Answer) -> None:
        partial, name = self._partial, self._remote.name
        size = self._remote.size if self._remote.size is not None else answer.identity.size
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
            if self._advance is None:
                self._advance = self._begin(Transfer(size, partial.size))
            self.transferred += len(piece)
            if size is not None and partial.size + len(piece) > size:
                partial.discard()
                raise LewmError(
                    f"{name} has {size:,} bytes, but the server gave more; nothing of it was kept: try the same "
                    "command again"
                )
            partial.append(piece)
            self._advance(len(piece))
        if not started and not size:  # an empty file
            self._start(identity)
        if answer.identity.size is None:  # the end of what came is the end of the file
            partial.identity = identity.with_size(partial.size)

    def _start(self, identity: Identity) -> None:
        """Begins with nothing, though not too often: what is lost then counts as progress the next time."""
        if self._furthest > 0:
            self._restarts += 1
            if self._restarts >= self._policy.attempts:
                self._partial.forget()
                raise self._given_up(
                    f"the connection was cut {self._restarts} times, and the server cannot go on in the middle of it",
                    advice="download it where the network is better",
                )
        self._partial.start(identity)
        self._furthest = 0
        self._advance = None

    def _pause(self, failure: RetryableError, failures: int) -> None:
        """Waits before the next attempt, unless there were enough, or it is too far off."""
        policy, reason = self._policy, failure.reason
        if failure.wait is not None and failure.wait > policy.longest:
            raise self._given_up(f"{reason} and asks to wait {failure.wait:,.0f} s", failure.advice)
        if failures >= policy.attempts:
            raise self._given_up(f"{reason}, {failures} times in a row without a new byte", failure.advice)
        if failure.at_once and not self._answered:
            raise self._given_up(reason, failure.advice)
        seconds = failure.wait
        if seconds is None:
            seconds = min(policy.pause * 2.0 ** (failures - 1), policy.longest)
        if seconds > 0:
            self._pausing(reason, seconds)
            time.sleep(seconds)

    def _given_up(self, reason: str, advice: str) -> LewmError:
        size = self._partial.size
        kept = f"{size:,} bytes are kept, and the same command goes on from there" if size else ""
        ending = "; ".join(filter(None, (advice, kept))) or "try the same command later"
        return LewmError(f"{self._remote.name} was not downloaded: {reason}; {ending}")


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
