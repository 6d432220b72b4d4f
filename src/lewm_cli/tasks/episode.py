"""A recorded episode in memory."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Episode:
    """Rows of one episode; row t holds what was seen at step t and the action taken then.

    Args:
        pixels: (T, H, W, 3) uint8 frames, the reset frame first.
        action: (T, A) float32; the last row is NaN, for no action was taken there.
        columns: further recorded quantities by released column name, each (T, ...).
    """

    pixels: np.ndarray
    action: np.ndarray
    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.pixels)
