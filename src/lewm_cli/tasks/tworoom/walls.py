"""The wall between the rooms as a shape, for judging whether a route really went through the door."""

from dataclasses import dataclass

import numpy as np
import shapely

TOUCH = 1e-3
"""Overlap, pixels, that float32 positions may show where the disk only touches."""


@dataclass(frozen=True)
class Walls:
    """A vertical wall with one door, all lengths in pixels.

    Args:
        center: x of the wall's middle.
        thickness: as the simulator rounds it: the wall reaches thickness // 2 to each side.
        door: y of the door's middle.
        half_door: half the door's opening.
        radius: of the agent's disk.
    """

    center: float
    thickness: int
    door: float
    half_door: float
    radius: float
    size: float = 224.0

    def separate(self, start: np.ndarray, goal: np.ndarray) -> bool:
        """Whether two positions lie in different rooms."""
        return bool((start[0] < self.center) != (goal[0] < self.center))

    def free(self, path: np.ndarray) -> bool:
        """Whether the disk swept along straight lines between positions (T, 2) stays clear of the wall."""
        line = shapely.LineString(path) if len(path) > 1 else shapely.Point(path[0])
        return bool(line.distance(self._shape()) >= self.radius - TOUCH)

    def _shape(self) -> shapely.Geometry:
        half = self.thickness // 2
        left, right = self.center - half, self.center + half
        above = shapely.box(left, 0, right, self.door - self.half_door)
        below = shapely.box(left, self.door + self.half_door, right, self.size)
        return shapely.union(above, below)
