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


class UnlikeError(LewmError):
    """A frame is unlike the frames of the recording, so that nothing is planned from it.

    Args:
        what: the frame, in words: "the goal".
        score: how unlike it is.
        threshold: what the score of frames like the recorded ones rarely passes.
    """

    def __init__(self, what: str, score: float, threshold: float) -> None:
        times = f"{score / threshold:.3g} times" if threshold > 0 else "more than"
        super().__init__(
            f"{what} is unlike the frames of the recording: its score {score:.4g} is {times} the threshold "
            f"{threshold:.4g}; look at what the camera sees (its place, its colors, something in the way), or record "
            "more of it"
        )
        self.score, self.threshold = score, threshold


class LateError(LewmError):
    """A plan was not there in time, and was given up.

    Args:
        seconds: that it was allowed to take.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"no plan came within {seconds:g} seconds, and none is waited for any longer; give the planner fewer "
            "iterations or a budget (planner.milliseconds), or allow more"
        )
        self.seconds = seconds


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
