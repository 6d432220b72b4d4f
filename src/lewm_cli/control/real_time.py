"""Time as a control loop sees it: when it is, waiting for the next tick, and work beside it. Tests give another one."""

import atexit
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Found = TypeVar("Found")

NAME = "lewm plan"

LAST_WAIT = 10.0
"""Seconds in which work that is left may end when the program does; one that hangs is not waited for."""


class RealTime:
    """The monotonic clock, and a thread for every piece of work."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def sleep_until(self, moment: float) -> None:
        """Return at this moment, at once if it has passed."""
        time.sleep(max(0.0, moment - time.monotonic()))

    def start(self, work: Callable[[], Found]) -> Future[Found]:
        """Begin work in a thread of its own, which does not keep the program from ending."""
        future: Future[Found] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # belongs to whoever asks for the result
                future.set_exception(error)

        threading.Thread(target=run, name=NAME, daemon=True).start()
        return future


@atexit.register
def _wait_for_work() -> None:
    """Let the threads end first: one that computes while the interpreter is taken down would abort the program."""
    end = time.monotonic() + LAST_WAIT
    for thread in threading.enumerate():
        if thread.name == NAME:
            thread.join(max(0.0, end - time.monotonic()))
