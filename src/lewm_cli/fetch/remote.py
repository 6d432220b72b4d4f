"""A file to download, and the contract between a source of its bytes and the download."""

from collections.abc import Iterator
from dataclasses import dataclass

from lewm_cli.config import Section


@dataclass(frozen=True)
class Remote:
    """A file that a server gives: what to ask for, and what it has to be.

    Args:
        url: http, https or file.
        name: what messages call it, such as "tworoom.tar.zst from quentinll/lewm-tworooms".
        headers: names and values to ask with; an Authorization is never sent on to another host.
        size: bytes, if known beforehand.
        sha256: in lower case, if known beforehand.
        identity: what stays the same where the URL is a new one every time, as Drive's; else the URL itself.
    """

    url: str
    name: str
    headers: tuple[tuple[str, str], ...] = ()
    size: int | None = None
    sha256: str | None = None
    identity: str | None = None

    @property
    def same_as(self) -> str:
        """Identifies the file, so that its beginning is known again."""
        return self.identity or self.url


class Identity(Section):
    """The file that some bytes are the beginning of.

    Args:
        same_as: its URL, or what stands for it.
        etag: strong ETag.
        modified: when it was changed last, as the source writes it.
        size: bytes.
        sha256: what its hash has to be.
    """

    same_as: str
    etag: str | None = None
    modified: str | None = None
    size: int | None = None
    sha256: str | None = None

    @property
    def validator(self) -> str | None:
        """Becomes another one when the file does."""
        return self.etag or self.modified

    def with_size(self, size: int | None) -> "Identity":
        """Returns the same, of so many bytes."""
        return self.model_copy(update={"size": size})

    def begins(self, remote: Remote) -> bool:
        """Tells if the beginning of this file begins `remote` too, as far as can be known before asking."""
        if None not in (remote.size, self.size) and remote.size != self.size:
            return False
        if self.sha256 and remote.sha256:
            return self.sha256 == remote.sha256
        return self.same_as == remote.same_as and (self.validator is not None or remote.sha256 is not None)

    def is_part_of(self, now: "Identity") -> bool:
        """Tells if it is still the same file, from what its source says of it now."""
        if None not in (self.size, now.size) and self.size != now.size:
            return False
        if self.sha256 and self.sha256 == now.sha256 and self.same_as != now.same_as:
            return True  # another source of the same bytes has another ETag
        if self.etag or now.etag:
            return self.etag == now.etag
        return self.modified == now.modified


@dataclass(frozen=True)
class Answer:
    """Bytes that begin to come.

    Args:
        identity: what they are a part of; its size is None where it is not said, and then it ends where the pieces end.
        offset: which byte of the file is the first of them: the one that was asked for, or 0.
        pieces: the bytes, as they come; they may end too early.
    """

    identity: Identity
    offset: int
    pieces: Iterator[bytes]


class RetryableError(Exception):
    """An attempt that failed, and may go well next time.

    Args:
        reason: what happened, to follow "was not downloaded: ".
        wait: seconds that the source asks to wait for.
        advice: what a user may do about it, where trying again is not all.
        at_once: give up, unless the source has answered before.
    """

    def __init__(self, reason: str, wait: float | None = None, advice: str = "", at_once: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.advice = advice
        self.at_once = at_once


class ChangedError(Exception):
    """The bytes that are on disk already are no part of what the source has now."""
