"""Time as a control loop sees it: when it is, waiting for the next tick, and work beside it. Tests give another one."""

import atexit
import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

Found = TypeVar("Found")

LONGEST_END = 10.0
"""Seconds that the end of the program waits for work: torch aborts the program if its threads are cut off."""

_working: set[Thread] = set()


@atexit.register
def _wait() -> None:
    until = time.monotonic() + LONGEST_END
    for thread in tuple(_working):
        thread.join(max(0.0, until - time.monotonic()))


class RealTime:
    """The monotonic clock, and a thread for every piece of work."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def sleep_until(self, moment: float) -> None:
        """Return at this moment, at once if it has passed."""
        time.sleep(max(0.0, moment - time.monotonic()))

    def start(self, work: Callable[[], Found]) -> Future[Found]:
        """Begin work in a thread of its own, for which the end of the program waits some seconds at most."""
        future: Future[Found] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # belongs to whoever asks for the result
                future.set_exception(error)
            finally:
                _working.discard(thread)

        thread = Thread(target=run, name="lewm plan", daemon=True)
        _working.add(thread)
        thread.start()
        return future
