"""A board: the place where one logger keeps what it is given of a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lewm_cli.config import LogConfig

Say = Callable[[str], None]


@dataclass(frozen=True)
class LoggedRun:
    """The run that is logged.

    Args:
        folder: everything about it but the weights; takes the files of boards that lie beside it.
        settings: all that decide what is computed, as a tree.
    """

    name: str
    folder: Path
    settings: dict[str, Any]


class Board(Protocol):
    """Takes numbers and pictures of a run; whatever its constructor and methods raise, training goes on without it."""

    def __init__(self, run: LoggedRun, config: LogConfig, first_step: int, say: Say) -> None:
        """Open it, for a run that goes on if the first step is not 0; says in a line where it can be looked at."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Add numbers by name."""

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Add a picture (H, W, 3) uint8."""

    def close(self) -> None:
        """Hand over whatever has been kept back."""
