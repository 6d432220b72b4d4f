"""Ctrl-C and SIGTERM, turned into a wish that the loop grants between two steps."""

import signal
from types import FrameType

from lewm_cli.errors import StoppedError


class StopRequest:
    """While entered, the first SIGINT or SIGTERM is remembered; a second one interrupts at once.

    A wish that nobody granted, because the work was done first, is passed on when this is left.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._remember) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, failure: type[BaseException] | None, *details: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if failure is None and self.signal_number is not None:
            signal.raise_signal(self.signal_number)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None:
            raise StoppedError("stopped at once; what was being saved may be missing", number)
        self.signal_number = number
