"""A physical quantity that a latent may or may not know."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ProbeTarget:
    """One recorded number per row.

    Args:
        name: in words, for tables.
        column: recorded column.
        index: which of its dimensions.
        unit: of the number.
    """

    name: str
    column: str
    index: int
    unit: str
