"""The phases of a training: parts of its steps that minimize a loss of their own."""

from dataclasses import dataclass

from lewm_cli.config import Goals


@dataclass(frozen=True)
class Phase:
    """A part of the steps of a training; it begins where the one before it ends.

    Args:
        name: shown where there is more than one phase.
        until: share of all steps after which it ends; 1 for the last.
        goals: that its clips are given; None for an objective without goals.
        usable: weights of this phase can do what they are for.
    """

    name: str = ""
    until: float = 1.0
    goals: Goals | None = None
    usable: bool = True
