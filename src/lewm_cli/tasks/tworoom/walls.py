"""The wall between the rooms as a shape, for judging whether a route really went through the door."""

from dataclasses import dataclass

import numpy as np
import shapely

TOUCH = 1e-3
"""Overlap, pixels, that float32 positions may show though the disk only touches."""

HALVINGS = 16
"""Halvings of a step of at most 10.5 pixels, to find its end at the wall to less than a thousandth of a pixel."""


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
        """Tell if two positions lie in different rooms."""
        return bool((start[0] < self.center) != (goal[0] < self.center))

    def free(self, path: np.ndarray) -> bool:
        """Tell if the disk swept along straight lines between positions (T, 2) stays clear of the wall."""
        return self._clearance(path) >= self.radius - TOUCH

    def slide(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """The place (2,) that the disk gets to on its way from `start` to `end`, both (2,), if the wall is solid.

        It goes straight until it touches the wall, or along the wall if that brings it nearer.
        """
        ends = (self._advance(start, start + (end - start) * axes) for axes in ((1.0, 1.0), (0.0, 1.0), (1.0, 0.0)))
        return min(ends, key=lambda reached: float(np.linalg.norm(reached - end)))

    def _advance(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """The last place on the line from `start` to `end` before the wall."""
        # Positions are rounded to float32 afterwards: what touched must be able to leave.
        enough = min(self.radius + TOUCH, self._clearance(start[None]))
        free, blocked = 0.0, 1.0
        if self._clearance(np.stack([start, end])) >= enough:
            return end
        for _ in range(HALVINGS):
            middle = (free + blocked) / 2
            if self._clearance(np.stack([start, start + middle * (end - start)])) >= enough:
                free = middle
            else:
                blocked = middle
        last: np.ndarray = start + free * (end - start)
        return last

    def _clearance(self, path: np.ndarray) -> float:
        """Least distance of the disk's center on its path (T, 2) from the wall."""
        left, right = self.center - self.thickness // 2, self.center + self.thickness // 2
        above = shapely.box(left, 0, right, self.door - self.half_door)
        below = shapely.box(left, self.door + self.half_door, right, self.size)
        line = shapely.LineString(path) if len(path) > 1 else shapely.Point(path[0])
        return float(line.distance(shapely.union(above, below)))
