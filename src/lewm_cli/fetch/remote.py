"""A file on a server, the same file on this disk, and the progress of the bytes between them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from lewm_cli.errors import LewmError


@dataclass(frozen=True)
class Remote:
    """A file that a server gives: what to ask for, and what it has to be.

    Args:
        url: http or https.
        name: what messages call it, such as "tworoom.tar.zst from quentinll/lewm-tworooms".
        headers: names and values to ask with; an Authorization is never sent on to another host.
        size, sha256: in bytes and in lower case, if known beforehand.
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

    def error(self, reason: str, kind: type[LewmError] = LewmError) -> LewmError:
        """Makes the error that it was not downloaded; `reason` ends with what to try next."""
        return kind(f"{self.name} was not downloaded: {reason}")


@dataclass(frozen=True)
class LocalFile:
    """A file that is on this disk.

    Args:
        path: where it lies; relative to the folder that it was unpacked into.
        size: bytes.
        sha256: in hexadecimal, lower case.
        transferred: bytes that were downloaded this time; more than `size` if something had to come twice.
    """

    path: Path
    size: int
    sha256: str
    transferred: int = 0


@dataclass(frozen=True)
class Transfer:
    """Bytes that are about to come.

    Args:
        total: bytes of the whole file; None if nobody knows.
        already: how many of them are there, and will not come; they say nothing about the rate.
    """

    total: int | None
    already: int


Advance = Callable[[int], None]
"""Gets the number of bytes that came since its last call."""

Begin = Callable[[Transfer], Advance]
"""Starts to show what is about to come; once more if all has to come anew."""

ByteProgress = Callable[[str], AbstractContextManager[Begin]]
"""Shows the progress of a stage of many bytes, by its label."""
