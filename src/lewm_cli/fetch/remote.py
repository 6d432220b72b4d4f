"""A file on a server, the same file on this disk, and the progress of the bytes between them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from lewm_cli.errors import LewmError


@dataclass(frozen=True)
class Remote:
    """A file that a server gives: what to ask for, and what it has to be, if known beforehand."""

    url: str  # http or https
    name: str  # in messages, such as "tworoom.tar.zst from quentinll/lewm-tworooms"
    headers: tuple[tuple[str, str], ...] = ()  # an Authorization is never sent on to another host
    size: int | None = None
    sha256: str | None = None
    identity: str | None = None  # what stays the same where the URL is a new one every time, as Drive's

    @property
    def same_as(self) -> str:
        """Identifies the file, so that its beginning is known again."""
        return self.identity or self.url

    def error(self, reason: str, kind: type[LewmError] = LewmError) -> LewmError:
        """Makes the error that it was not downloaded; `reason` ends with what to try next."""
        return kind(f"{self.name} was not downloaded: {reason}")


@dataclass(frozen=True)
class LocalFile:
    """A file that is on this disk; the path of one just unpacked is relative to the folder that it is in."""

    path: Path
    size: int
    sha256: str
    transferred: int = 0  # bytes that were downloaded this time; more than `size` if something had to come twice


@dataclass(frozen=True)
class Transfer:
    """Bytes that are about to come."""

    total: int | None  # of the whole file; None if nobody knows
    already: int  # of them are there, and will not come; they say nothing about the rate


Advance = Callable[[int], None]  # gets the number of bytes that came since its last call
Begin = Callable[[Transfer], Advance]  # starts to show what is about to come; once more if all has to come anew
ByteProgress = Callable[[str], AbstractContextManager[Begin]]  # shows a stage of many bytes, by its label
