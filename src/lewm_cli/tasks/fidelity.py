"""How well a simulator draws a recorded state again."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fidelity:
    """Mean absolute difference between a recorded frame and the same state drawn again, in RGB levels (0 to 255).

    Args:
        alike: up to which nobody would notice.
        refused: beyond which it is another world.
    """

    alike: float
    refused: float


FIDELITY = Fidelity(alike=0.1, refused=1.0)
"""Of a task that says nothing of its own: edges may be smoothed otherwise, but nothing is elsewhere."""
