"""Functions that string several rooms together, for the command line to call.

Arguments that mean the same in all of them:

    home: where names are looked up, and results go.
    name: of a run.
    say: called with a line about whatever was found or chosen on the user's behalf.
    show: called with the result before it is stored, so that it is not lost where it cannot be.
    progress: enters a stage by its label, its total and their unit; yields a function that takes the number done.
    listeners: called with every event of a training.
    settings: laid over those of the preset or protocol; later ones win.
    device: auto, cpu, cuda or mps.
    external: options for weights that another tool made.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from lewm_cli.errors import StoppedError


class Progress(Protocol):
    """Shows the progress of one stage after the other."""

    def __call__(self, label: str, total: int, unit: str) -> AbstractContextManager[Callable[[int], None]]: ...


@contextmanager
def stopped_with(sentence: Callable[[], str]) -> Iterator[None]:
    """Say in a sentence of its own what Ctrl-C or SIGTERM leaves behind; raises StoppedError then."""
    try:
        yield
    except (KeyboardInterrupt, StoppedError) as stopped:
        number = stopped.signal_number if isinstance(stopped, StoppedError) else signal.SIGINT
        raise StoppedError(sentence(), number) from stopped
