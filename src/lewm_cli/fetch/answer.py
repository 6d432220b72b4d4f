"""What a source answers when it is asked for a file from some byte on, and what may go wrong with that."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from lewm_cli.fetch.partial import Identity


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


class Source(Protocol):
    """Where the bytes of one file come from."""

    def ask(self, offset: int, identity: Identity | None) -> AbstractContextManager[Answer]:
        """Ask for everything from a byte on.

        Args:
            offset: the byte; 0 for the whole file.
            identity: what the bytes before it are a part of.

        Raises:
            Trouble: also out of the pieces.
            OtherFileError: those bytes are no part of what the source has now.
            LewmError: it is of no use to ask again.
        """
        ...


class Trouble(Exception):  # noqa: N818
    """An attempt that failed, and may go well next time.

    Args:
        reason: what happened, to follow "was not downloaded: ".
        wait: seconds that the source asks to wait for.
        advice: what a user may do about it, where trying again is not all.
        at_once: whether to give up unless the source has answered before.
    """

    def __init__(self, reason: str, wait: float | None = None, advice: str = "", at_once: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.advice = advice
        self.at_once = at_once


class OtherFileError(Exception):
    """The bytes that are on disk already are no part of what the source has now."""
