"""Downloads of one file: gone on with after any interruption, checked, and only then given its name."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lewm_cli.errors import LewmError
from lewm_cli.fetch.answer import Answer, OtherFileError, Trouble
from lewm_cli.fetch.local import Local
from lewm_cli.fetch.partial import Identity, Partial, has_partial, partial_file
from lewm_cli.fetch.patience import Patience, Pause
from lewm_cli.fetch.remote import Remote
from lewm_cli.fetch.watching import Advance, Begin, Transfer, unwatched
from lewm_cli.fetch.web import Web
from lewm_cli.files import lock_path, locked

PAGES = (".html", ".htm")
"""Suffixes of files that may be web pages."""


@dataclass(frozen=True)
class Downloaded:
    """A file that is there and is what it has to be.

    Args:
        size: bytes.
        sha256: in hexadecimal, lower case.
        transferred: bytes that came this time; more than `size` if something had to come twice.
        etag: strong ETag that the server gave it.
    """

    size: int
    sha256: str
    transferred: int
    etag: str | None


def download(
    remote: Remote,
    path: Path,
    begin: Begin = unwatched,
    rereading: Begin = unwatched,
    pausing: Callable[[Pause], None] = lambda pause: None,
    patience: Patience | None = None,
) -> Downloaded:
    """Download a file, going on with what an earlier call left, and give it its name once it is whole and right.

    Until then its bytes are in hidden files beside `path`, which the next call goes on with, whatever ended this one:
    an error, Ctrl-C, SIGKILL, a power failure. The beginning of one file is never joined to the end of another. A
    connection that fails is made again by itself. What is at `path` already is replaced in the end.

    Args:
        remote: what to download, and its size and hash if they are known.
        path: what to call it.
        begin: is told what is about to come.
        rereading: is told that what an earlier call left is about to be read from disk once more, for its hash; tens of
            gigabytes of it take minutes.
        pausing: is told before every wait for a better time.
        patience: how long to wait, and how often to try again.

    Raises:
        LewmError: another process downloads it, the server refuses it or gives something else, the network or the
            server fails too often, the disk is full, or the file has another size or hash than it has to; in the last
            case nothing of it is kept.
    """
    with locked(path, f"another process is downloading {path.name} into {path.parent}; wait for it, or stop it"):
        try:
            with partial_file(path, remote, rereading) as partial:
                filling = _Filling(remote, partial, begin, pausing, patience or Patience())
                filling.fill()
                _check(remote, partial)
                partial.finish()
        finally:
            if not path.exists() and not has_partial(path):
                lock_path(path).unlink(missing_ok=True)
    etag = partial.identity.etag if partial.identity is not None else None
    return Downloaded(partial.size, partial.sha256, filling.transferred, etag)


class _Filling:
    """Makes a partial file whole, in as many attempts as it takes."""

    def __init__(
        self,
        remote: Remote,
        partial: Partial,
        begin: Begin,
        pausing: Callable[[Pause], None],
        patience: Patience,
    ) -> None:
        self.transferred = 0
        self._remote = remote
        self._partial = partial
        self._begin = begin
        self._pausing = pausing
        self._patience = patience
        self._advance: Advance | None = None
        self._answered = False
        self._furthest = partial.size
        self._begun_anew = 0

    def fill(self) -> None:
        """Ask again until nothing is missing.

        Raises:
            LewmError: it is of no use to go on asking.
        """
        partial = self._partial
        failures = 0
        with closing(self._source()) as source:
            while not partial.whole:
                if partial.identity is not None and not partial.identity.begins(self._remote):
                    partial.forget()  # nothing says whether the server still has the same file
                trouble = self._attempt(source)
                if partial.size > self._furthest:
                    failures, self._furthest = 0, partial.size
                if trouble is not None:
                    failures += 1
                    self._pause(trouble, failures)
        if self._advance is None and partial.identity is not None:
            self._begin(Transfer(partial.identity.size, partial.size))

    def _source(self) -> Local | Web:
        if self._remote.url.lower().startswith("file:"):
            return Local(self._remote)
        page_expected = self._partial.path.suffix.lower() in PAGES
        return Web(self._remote, page_expected, self._patience)

    def _attempt(self, source: Local | Web) -> Trouble | None:
        try:
            with source.ask(self._partial.size, self._partial.identity) as answer:
                self._answered = True
                self._receive(answer)
        except OtherFileError:
            self._partial.forget()
            return Trouble("the server has another file every time", wait=0.0)
        except Trouble as trouble:
            self._answered = self._answered or not trouble.at_once
            return trouble
        return None if self._partial.whole else Trouble("the server gave less than all of it")

    def _receive(self, answer: Answer) -> None:
        partial, announced = self._partial, answer.identity.size
        if self._remote.size is not None:
            if announced not in (None, self._remote.size):
                raise LewmError(
                    f"{self._remote.name} has {self._remote.size:,} bytes, but the server offers one of {announced:,}; "
                    "it is another file, so nothing was downloaded"
                )
            announced = self._remote.size
        identity = answer.identity.with_size(announced)
        started = answer.offset > 0
        if started:
            partial.learn(identity)
        for piece in answer.pieces:
            if not started:
                # Not before something has come: the server may fail once more, and this destroys what is there.
                self._start(identity)
                started = True
            if self._advance is None:
                self._advance = self._begin(Transfer(announced, partial.size))
            self.transferred += len(piece)
            if announced is not None and partial.size + len(piece) > announced:
                partial.discard()
                raise LewmError(
                    f"{self._remote.name} has {announced:,} bytes, but the server gave more; nothing of it was kept: "
                    "try the same command again"
                )
            partial.append(piece)
            self._advance(len(piece))
        if not started and not announced:  # an empty file
            self._start(identity)
        if answer.identity.size is None:  # the end of what came is the end of the file
            partial.learn(identity.with_size(partial.size))

    def _start(self, identity: Identity) -> None:
        """Begin with nothing, though not too often: what is lost then counts as progress the next time.

        Raises:
            LewmError: the server never goes on from where it was cut.
        """
        if self._furthest > 0:
            self._begun_anew += 1
            if self._begun_anew >= self._patience.attempts:
                self._partial.forget()
                raise self._given_up(
                    f"the connection was cut {self._begun_anew} times, and the server cannot go on in the middle of it",
                    advice="download it where the network is better",
                )
        self._partial.start(identity)
        self._furthest = 0
        self._advance = None

    def _pause(self, trouble: Trouble, failures: int) -> None:
        """Wait for a better time.

        Raises:
            LewmError: there was no better time often enough, or it is too far off.
        """
        longest = self._patience.longest
        if trouble.wait is not None and trouble.wait > longest:
            raise self._given_up(f"{trouble.reason} and asks to wait {trouble.wait:,.0f} s", trouble.advice)
        if failures >= self._patience.attempts:
            raise self._given_up(f"{trouble.reason}, {failures} times in a row without a new byte", trouble.advice)
        if trouble.at_once and not self._answered:
            raise self._given_up(trouble.reason, trouble.advice)
        seconds = self._patience.before(failures) if trouble.wait is None else trouble.wait
        if seconds > 0:
            self._pausing(Pause(trouble.reason, seconds))
            time.sleep(seconds)

    def _given_up(self, reason: str, advice: str) -> LewmError:
        size = self._partial.size
        kept = f"{size:,} bytes are kept, and the same command goes on from there" if size else ""
        later = "" if advice else "try the same command later"
        ending = "; ".join(part for part in (advice, kept or later) if part)
        return LewmError(f"{self._remote.name} was not downloaded: {reason}; {ending}")


def _check(remote: Remote, partial: Partial) -> None:
    """Refuse what is whole but not what it has to be, and keep nothing of it.

    Raises:
        LewmError: it has another size or hash.
    """
    if remote.size is not None and partial.size != remote.size:
        wrong = f"has {partial.size:,} bytes instead of {remote.size:,}"
    elif remote.sha256 is not None and partial.sha256 != remote.sha256.lower():
        wrong = f"has the sha256 {partial.sha256} instead of {remote.sha256.lower()}"
    else:
        return
    partial.discard()
    raise LewmError(
        f"{remote.name} was downloaded and {wrong}, so nothing of it was kept; try the same command again, and if it "
        "ends like this once more, the server has another file than it should"
    )
