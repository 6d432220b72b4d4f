"""Colors that are easy to tell apart."""

import numpy as np

OTHER_COLOR = 128.0
"""The least distance, RGB levels, between two colors that are easy to tell apart."""


def other_color(generator: np.random.Generator, *known: np.ndarray) -> np.ndarray:
    """Draw a color (3,) of RGB levels, 0 to 255, that lies far from every known one, each (3,)."""
    while True:
        color = generator.integers(256, size=3)
        if min(float(np.linalg.norm(color - other.astype(float))) for other in known) >= OTHER_COLOR:
            return color
