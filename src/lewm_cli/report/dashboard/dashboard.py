"""A listener that passes the numbers and pictures of a training on to a board, and gives up when that fails."""

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from lewm_cli.config import LogConfig
from lewm_cli.report.dashboard.board import Board, LoggedRun, Say
from lewm_cli.report.dashboard.tensorboard_board import TensorBoardBoard
from lewm_cli.report.dashboard.trackio_board import TrackioBoard
from lewm_cli.report.dashboard.wandb_board import WandbBoard
from lewm_cli.report.latent_map import Coloring, latent_picture
from lewm_cli.train import (
    LatentsMeasured,
    Saved,
    TrainingEvent,
    TrainingFinished,
    TrainingStarted,
    TrainingStopped,
    numbers,
)

BOARDS: dict[str, type[Board]] = {"tensorboard": TensorBoardBoard, "wandb": WandbBoard, "trackio": TrackioBoard}

Colorings = Callable[[np.ndarray], list[Coloring]]
"""Quantities at rows (N,) of the recording, which latent maps are colored by."""

Strips = Callable[[int], np.ndarray | None]
"""Draws what the weights that were saved at a step imagine (H, W, 3) uint8; None where that cannot be drawn."""


class Dashboard:
    """Passes a training on to one logger: opens it when training begins, closes it at the end.

    Whatever goes wrong there is said once, and training goes on: its own log has everything.
    """

    def __init__(
        self,
        logger: str,
        config: LogConfig,
        run: LoggedRun,
        colorings: Colorings,
        say: Say,
        strips: Strips | None = None,
    ) -> None:
        self.logger, self.config, self.run, self.colorings, self.say = logger, config, run, colorings, say
        self.strips = strips
        self._board: Board | None = None
        self._drawn: dict[str, int] = {}

    def __call__(self, event: TrainingEvent) -> None:
        """Hear an event; raises nothing but what stops the command."""
        try:
            self._pass_on(event)
        except Exception as error:  # those of the loggers have no type in common
            board, self._board = self._board, None
            with suppress(Exception):
                if board:
                    board.close()
            said = " ".join(str(error).split()) or type(error).__name__
            self.say(f"warning: nothing more is logged to {self.logger} ({said}); training goes on, with its own log")

    def _pass_on(self, event: TrainingEvent) -> None:
        if isinstance(event, TrainingStarted):
            self._board = BOARDS[self.logger](self.run, self.config, event.first_step, self.say)
        if self._board is None:
            return
        if values := numbers(event):
            self._board.numbers(event.step, values)
        match event:
            case LatentsMeasured() if self._due("latents/map", event.step):
                picture = latent_picture(event.latents, self.colorings(event.rows))
                self._board.picture(event.step, "latents/map", picture)
            case Saved() if self.strips and self._due("imagined/frames", event.step):
                if (drawn := self.strips(event.step)) is not None:
                    self._board.picture(event.step, "imagined/frames", drawn)
            case TrainingFinished() | TrainingStopped():
                board, self._board = self._board, None
                board.close()

    def _due(self, name: str, step: int) -> bool:
        """Tell whether a picture is due, and take it for drawn then."""
        every = self.config.pictures
        due = bool(every) and (name not in self._drawn or step - self._drawn[name] >= every)
        if due:
            self._drawn[name] = step
        return due
