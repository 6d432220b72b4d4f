"""TensorBoard: event files in the folder of the run."""

import threading
from collections.abc import Mapping

import numpy as np

from lewm_cli.config import LogConfig
from lewm_cli.report.dashboard.board import LoggedRun, Say
from lewm_cli.suggestion import quote

FLUSH_SECONDS = 10
"""After so long what was logged is on disk, where TensorBoard sees it."""


class TensorBoardBoard:
    """The event files; see `Board`."""

    def __init__(self, run: LoggedRun, config: LogConfig, first_step: int, say: Say) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / "tensorboard"
        if not first_step:
            for old in folder.glob("events.out.tfevents.*"):  # of a run that this one replaces
                old.unlink()
        _leave_failures_to_the_caller()
        # What was logged beyond the first step, before a kill, is not shown.
        purged = {"purge_step": first_step + 1} if first_step else {}
        self._writer = SummaryWriter(str(folder), flush_secs=FLUSH_SECONDS, **purged)
        say(f"tensorboard: look at it with: tensorboard --logdir {quote(str(folder))}")

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


def _leave_failures_to_the_caller() -> None:
    """Keeps the traceback of the writing thread from being printed: the next number that is added raises its error."""
    told = threading.excepthook

    def tell(failure: threading.ExceptHookArgs) -> None:
        if not type(failure.thread).__module__.startswith("tensorboard."):
            told(failure)

    threading.excepthook = tell
