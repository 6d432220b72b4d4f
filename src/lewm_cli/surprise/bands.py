"""Curves of many episodes laid over each other at the event."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lewm_cli.surprise.surprise_result import Curve

BEFORE, AFTER = 5, 8
"""Model steps shown before and after the event."""


@dataclass(frozen=True)
class Band:
    """Values of a detector over episodes at one offset from the event.

    Args:
        offset: model steps from the event.
        episodes: number that reach so far.
        median, low, high: over episodes; low and high are the 10th and 90th percentile.
    """

    offset: int
    episodes: int
    median: float
    low: float
    high: float


def bands(curves: Iterable[tuple[Curve, int]]) -> list[Band]:
    """Aligns curves at their events.

    Args:
        curves: pairs of a curve and the index of its event.
    """
    aligned = list(curves)
    found = []
    for offset in range(-BEFORE, AFTER + 1):
        values = [curve[event + offset] for curve, event in aligned if 0 <= event + offset < len(curve)]
        known = [value for value in values if value is not None]
        if known:
            low, median, high = np.percentile(known, [10, 50, 90]).tolist()
            found.append(Band(offset, len(known), median, low, high))
    return found
