"""A toy world whose simulators die on demand; worker processes import it."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lewm_cli.tasks import Task, find_task

DEADLY = 1000.0
"""A start at this place or beyond kills the process."""


class ToySimulator:
    """A point that moves as its actions say, without walls."""

    def __init__(self, fuse: Path | None) -> None:
        self._fuse = fuse
        self._reach = 1.0

    def judge_by(self, gate: str) -> None:
        self._reach = {"simulator": 1.0, "tight": 0.25}[gate]

    def begin(self, start: np.ndarray, goal: np.ndarray) -> None:
        self._place, self._goal = start.astype(float), goal.astype(float)
        if start[0] >= DEADLY and (self._fuse is None or self._fuse.exists()):
            if self._fuse:
                self._fuse.unlink()
            os.kill(os.getpid(), signal.SIGABRT)
        if start[0] < 0:
            raise ValueError("this start cannot be")

    def step(self, action: np.ndarray) -> None:
        self._place = self._place + action

    def frame(self) -> np.ndarray:
        return np.full((8, 8, 3), int(self._place.sum()) % 256, np.uint8)

    def goal_frame(self) -> np.ndarray:
        return np.full((8, 8, 3), int(self._goal.sum()) % 256, np.uint8)

    def proprio(self) -> None:
        return None

    goal_proprio = proprio

    def position(self) -> np.ndarray:
        return self._place.copy()

    def distance(self) -> float:
        return float(np.linalg.norm(self._place - self._goal))

    def solved(self) -> bool:
        return self.distance() < self._reach

    def random_action(self, generator: np.random.Generator) -> np.ndarray:
        return generator.uniform(-1, 1, 2)

    def groups(self, start: np.ndarray, goal: np.ndarray) -> tuple[str, ...]:
        return ()

    def route_valid(self, path: np.ndarray) -> None:
        return None


@dataclass(frozen=True)
class Maker:
    """Builds simulators in any process; with a fuse, a file, only the first deadly start kills."""

    fuse: Path | None = None

    def __call__(self) -> ToySimulator:
        return ToySimulator(self.fuse)


def toy(fuse: Path | None = None) -> Task:
    """Builds a task with such simulators."""
    return Task("toy", find_task("tworoom").folder, "a point", make_simulator=Maker(fuse))
