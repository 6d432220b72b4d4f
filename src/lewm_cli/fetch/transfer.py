"""Progress of many bytes: a download says what is about to come, and gets back what it tells the bytes."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


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


class ByteProgress(Protocol):
    """Shows the progress of a stage of many bytes."""

    def __call__(self, label: str) -> AbstractContextManager[Begin]:
        """Enter a stage."""
        ...


def unshown(transfer: Transfer) -> Advance:
    """Lets bytes come without showing them."""
    return lambda count: None
