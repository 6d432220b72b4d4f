"""A physical quantity that a latent may or may not know."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LENGTHS = ("px", "m")
"""Units of length."""


@dataclass(frozen=True)
class ProbeTarget:
    """One recorded number per row.

    Args:
        name: in words, for tables.
        column: recorded column.
        index: which of its dimensions.
        unit: of the number; empty if it has none.
        function: of the recorded number, what is probed for; for angles, which jump where nothing does.
    """

    name: str
    column: str
    index: int
    unit: str
    function: Callable[[np.ndarray], np.ndarray] = np.positive

    @property
    def is_position(self) -> bool:
        """Whether it says where something is."""
        return self.unit in LENGTHS
