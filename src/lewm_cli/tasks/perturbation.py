"""A violation of expectation that a simulator can stage."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Perturbation:
    """A sudden change of the world that no action explains.

    Args:
        name: as typed on the command line, `teleport`.
        title: what happens, for tables.
        unit: of its size.
    """

    name: str
    title: str
    unit: str
