"""How a download is watched: it is told what to show, and gives back what shows it."""

from collections.abc import Callable
from dataclasses import dataclass


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
"""Is told the number of bytes that came since it was told last."""

Begin = Callable[[Transfer], Advance]
"""Is told what is about to come, and gives what is told the bytes; once more if all has to come anew."""


def unwatched(transfer: Transfer) -> Advance:
    """Let bytes come without showing them."""
    return lambda count: None
