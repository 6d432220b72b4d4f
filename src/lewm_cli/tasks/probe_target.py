"""Quantities that latents are probed for: numbers, angles without ends, rotations without a sign."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

LENGTHS = ("px", "m")
"""Units of length."""


@dataclass(frozen=True)
class ProbeTarget:
    """One quantity of every row: a number.

    Probes read coordinates, which change little where the quantity changes little, and are scored over all of them
    together; of a number there is one, itself.

    Args:
        column: recorded column.
        index: of its first number there.
        unit: of its values and errors; empty if it has none.
        rate: how fast something changes, which no single frame shows: as recorded, or the difference of the recorded
            numbers over the frameskip rows before, per row.
    """

    name: str
    column: str
    index: int
    unit: str
    rate: Literal["recorded", "differenced"] | None = None

    recorded: ClassVar[int] = 1
    """Numbers that the column holds of it."""

    @property
    def is_position(self) -> bool:
        """True if it is a position."""
        return self.unit in LENGTHS

    def coordinates(self, recorded: np.ndarray) -> np.ndarray:
        """Turns what is recorded, (N, R) float64, into what probes read, (N, C)."""
        return recorded

    def values(self, coordinates: np.ndarray) -> np.ndarray:
        """One value per row (N,), in its unit, for pictures."""
        return coordinates[:, 0]

    def errors(self, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
        """Distances (N,) of predicted coordinates (N, C) from the actual ones, in its unit and never negative."""
        apart: np.ndarray = np.abs(predicted - actual)[:, 0]
        return apart


@dataclass(frozen=True)
class Angle(ProbeTarget):
    """An angle, recorded in radians: read as sine and cosine, in degrees for people."""

    unit: str = "deg"

    def coordinates(self, recorded: np.ndarray) -> np.ndarray:
        return np.concatenate([np.sin(recorded), np.cos(recorded)], axis=1)

    def values(self, coordinates: np.ndarray) -> np.ndarray:
        degrees: np.ndarray = np.rad2deg(np.arctan2(coordinates[:, 0], coordinates[:, 1]))
        return degrees

    def errors(self, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
        """The shorter way around, at most 180."""
        apart: np.ndarray = np.abs((self.values(predicted) - self.values(actual) + 180) % 360 - 180)
        return apart


ROWS, COLUMNS = np.triu_indices(4)
WEIGHTS = np.where(ROWS == COLUMNS, 1.0, np.sqrt(2.0))
"""Of the entries above the diagonal, which stand for two: distances are those of the whole matrices."""


@dataclass(frozen=True)
class Rotation(ProbeTarget):
    """A rotation, recorded as a quaternion w, x, y, z: read as its outer product, to which the sign does not matter."""

    unit: str = "deg"

    recorded: ClassVar[int] = 4

    def coordinates(self, recorded: np.ndarray) -> np.ndarray:
        unit = recorded / np.maximum(np.linalg.norm(recorded, axis=1, keepdims=True), 1e-12)
        products: np.ndarray = unit[:, ROWS] * unit[:, COLUMNS] * WEIGHTS
        return products

    def values(self, coordinates: np.ndarray) -> np.ndarray:
        """The angle by which it turns, 0 to 180."""
        return self._turned(self._quaternions(coordinates)[:, 0])

    def errors(self, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
        """The angle of the rotation from one to the other, at most 180."""
        along = (self._quaternions(predicted) * self._quaternions(actual)).sum(axis=1)
        return self._turned(along)

    def _turned(self, real: np.ndarray) -> np.ndarray:
        """The angles of rotations whose quaternions have these real parts (N,), of either sign."""
        degrees: np.ndarray = np.rad2deg(2 * np.arccos(np.abs(real).clip(0, 1)))
        return degrees

    def _quaternions(self, coordinates: np.ndarray) -> np.ndarray:
        """The quaternions (N, 4) whose outer products are nearest to these."""
        products = np.zeros((len(coordinates), 4, 4))
        products[:, COLUMNS, ROWS] = coordinates / WEIGHTS  # of a symmetric matrix only the lower half is looked at
        nearest: np.ndarray = np.linalg.eigh(products)[1][:, :, -1]
        return nearest
