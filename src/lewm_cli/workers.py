"""Worker processes that ignore Ctrl-C and SIGTERM and end with their parent."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


@contextmanager
def starting_workers() -> Iterator[None]:
    """Block signals to stop in the processes that the main thread starts meanwhile, even while they import.

    Ctrl-C, and the SIGTERM of a batch system, reach the whole process group; the parent alone decides what they mean.
    """
    resource_tracker.ensure_running()  # it unblocks the signals when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def behave_as_worker() -> None:
    """Ignore signals to stop and end with the parent; call it first in every worker process.

    A parent that is killed cannot end its workers, so each worker waits for the parent's end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def available_cores() -> int:
    """Cores that this process may use, which a batch system or taskset can make fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
