"""A film of one episode: every frame, the goal, and the path."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lewm_cli.control import Frame


@dataclass(frozen=True)
class Film:
    """The frames of one pair.

    Args:
        number: of the pair; the seed of the start where there is none.
        frames: (T, H, W, 3) uint8, from the start on.
        goal: (H, W, 3) uint8.
        path: (T, 2) positions, in pixels of the frame.
        success: the goal was reached; None where nobody can tell.
    """

    number: int
    frames: Frame
    goal: Frame
    path: npt.NDArray[np.floating]
    success: bool | None
