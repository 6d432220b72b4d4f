"""Statistics of a feature, as LeRobot keeps them for episodes and for whole data sets."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)

LEVELS = 256
"""Values that a color can have."""

Numbers = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of all rows; each array has the shape of the feature.

    Args:
        least: of all rows.
        most: of all rows.
        quantiles: one for each of `QUANTILES`.
        count: number of rows.
    """

    least: npt.NDArray[Any]
    most: npt.NDArray[Any]
    mean: Numbers
    deviation: Numbers
    quantiles: tuple[Numbers, ...]
    count: int

    @classmethod
    def of_rows(cls, rows: npt.NDArray[Any]) -> Self:
        """Compute them of numbers (T,) or (T, D); a single number counts as an array of one."""
        rows = rows.reshape(len(rows), -1)
        numbers = rows.astype(np.float64)
        quantiles = tuple(np.quantile(numbers, QUANTILES, axis=0))
        return cls(rows.min(axis=0), rows.max(axis=0), numbers.mean(axis=0), numbers.std(axis=0), quantiles, len(rows))

    @classmethod
    def of_levels(cls, counts: Counts, frames: int) -> Self:
        """Compute them of all pixels of frames, given how often each level of each color is there: (3, 256).

        Colors go from 0 to 1, and are (3, 1, 1).
        """
        levels, total = np.arange(LEVELS) / (LEVELS - 1), counts.sum(axis=1, keepdims=True)
        mean = (counts * levels).sum(axis=1, keepdims=True) / total
        variance = (counts * (levels - mean) ** 2).sum(axis=1, keepdims=True) / total
        shares = counts.cumsum(axis=1) / total

        def level(share: float) -> Numbers:
            """The lowest of each color that so large a share of the pixels does not exceed."""
            found: Numbers = levels[np.argmax(shares >= share, axis=1)]
            return found.reshape(3, 1, 1)

        ends = level(np.finfo(float).tiny), level(1.0)
        mean, deviation = mean.reshape(3, 1, 1), np.sqrt(variance).reshape(3, 1, 1)
        return cls(*ends, mean, deviation, tuple(map(level, QUANTILES)), frames)

    def stored(self) -> dict[str, Any]:
        """Lists by the names that LeRobot gives them."""
        named = {"min": self.least, "max": self.most, "mean": self.mean, "std": self.deviation}
        named |= {f"q{round(100 * share):02}": value for share, value in zip(QUANTILES, self.quantiles, strict=True)}
        return {name: value.tolist() for name, value in named.items()} | {"count": [self.count]}


def count_levels(frames: npt.NDArray[np.uint8]) -> Counts:
    """Count how often each level of each color is there, in frames (K, H, W, 3): (3, 256)."""
    return np.stack([np.bincount(frames[..., color].reshape(-1), minlength=LEVELS) for color in range(3)])
