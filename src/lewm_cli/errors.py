"""Failures that a user can act on, and work ended on request."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Finding = TypeVar("Finding")


class LewmError(Exception):
    """A failure explained in one sentence: what happened, why, and what to type next. Exit code 1."""

    exit_code = 1


class MissingError(LewmError):
    """Nothing of the given name is there."""


class TakenError(LewmError):
    """Another process is writing something of the given name, or it is there already."""


class UsageError(LewmError):
    """A command line or a configuration that cannot mean anything. Exit code 2."""

    exit_code = 2


class StoppedError(BaseException):
    """Work ended early on request (Ctrl-C or SIGTERM) with everything worth keeping saved; no failure to recover from.

    No `Exception`, like KeyboardInterrupt: whoever is prepared for any failure is not prepared for this.

    Args:
        message: what was saved and how to go on.
        signal_number: the signal that asked; the exit code is 128 plus it.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


def kept_going(look: Callable[[], Iterable[Finding]], failure: Callable[[Exception], Finding]) -> Iterator[Finding]:
    """Yield findings; an error that ends the look becomes the last one: the rest is worth knowing all the same."""
    try:
        yield from look()
    except Exception as error:  # damaged files and libraries raise anything
        yield failure(error)
