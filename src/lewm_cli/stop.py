"""Ctrl-C and SIGTERM, deferred until the end of a step."""

import signal
from types import FrameType

from lewm_cli.errors import StoppedError


class StopRequest:
    """Remembers the first SIGINT or SIGTERM while it is entered; a second one interrupts at once.

    A signal that nobody acted on, because the work was done first, is raised again at the exit.
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
