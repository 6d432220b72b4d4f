"""A world that is a line, recordings of it, and the rows that the authors' code draws from them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lewm_cli.data import Dataset, open_dataset
from lewm_cli.tasks import TWOROOM
from synthetic import write_recording


def recording(path: Path, lengths: Sequence[int]) -> Dataset:
    """Every state is the number of its row, twice."""
    rows = sum(lengths)
    steps = np.concatenate([np.arange(length) for length in lengths])
    columns = {
        "proprio": np.repeat(np.arange(rows, dtype=np.float32), 2).reshape(rows, 2),
        "step_idx": steps,
        "ep_idx": np.repeat(np.arange(len(lengths)), lengths),
    }
    return open_dataset(write_recording(path, lengths, dims=2, size=1, columns=columns), path.stem)


@dataclass
class Line:
    """A simulator: the first action dimension moves along a line; a goal is reached within half a unit."""

    begun: list[str] = field(default_factory=list)
    gate: str = "simulator"
    at: float = 0.0
    goal: float = 0.0

    def judge_by(self, gate: str) -> None:
        self.gate = gate

    def begin(self, start: np.ndarray, goal: np.ndarray) -> None:
        self.begun.append(self.gate)
        self.at, self.goal = float(start[0]), float(goal[0])

    def step(self, action: np.ndarray) -> None:
        self.at += round(float(action[0]), 3)

    def frame(self) -> np.ndarray:
        return np.zeros((64, 64, 3), np.uint8)

    goal_frame = frame

    def proprio(self) -> None:
        return None

    goal_proprio = proprio

    def position(self) -> np.ndarray:
        return np.array([self.at, 0.0])

    def distance(self) -> float:
        return abs(self.at - self.goal)

    def solved(self) -> bool:
        return self.distance() <= 0.5

    def random_action(self, generator: np.random.Generator) -> np.ndarray:
        return generator.uniform(-1, 1, 2).astype(np.float32)

    def groups(self, start: np.ndarray, goal: np.ndarray) -> tuple[str, ...]:
        return ("even",) if start[0] % 2 == 0 else ()

    def route_valid(self, path: np.ndarray) -> None:
        return None


LINE = replace(TWOROOM, make_simulator=Line)


def by_columns(dataset: Dataset, offset: int, count: int, seed: int, *, original: bool) -> list[int]:
    """Start rows as the authors' code draws them, from the columns of the recording."""
    every = slice(None)
    steps, episodes = dataset.read("step_idx", every), dataset.read("ep_idx", every)
    valid = np.nonzero(steps <= dataset.lengths[episodes] - offset - 1)[0]
    among = len(valid) - 1 if original else len(valid)
    return np.sort(valid[np.random.default_rng(seed).choice(among, size=count, replace=False)]).tolist()
