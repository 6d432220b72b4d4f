"""What recording and evaluation ask of a simulator, whatever is behind it."""

from typing import Protocol

import numpy as np

from lewm_cli.tasks.episode import Episode


class Simulator(Protocol):
    """One environment, driven by plain arrays in the environment's own units."""

    def demonstrate(self, seed: np.random.SeedSequence, *, any_start: bool) -> Episode:
        """Record one episode of the demonstrator; the same seed gives the same episode in any process.

        Args:
            seed: the only source of randomness.
            any_start: take the simulator's own resets instead of the task's selection of starts.
        """
        ...

    def reset(self, seed: np.random.SeedSequence) -> None:
        """Begin where `demonstrate` does with this seed, in a start of the task's selection; there is no goal.

        Args:
            seed: a fresh one, the only source of randomness.
        """
        ...

    def judge_by(self, gate: str) -> None:
        """Choose what counts as reached from the next `begin` on; without it, the simulator's own rule.

        Args:
            gate: one of the task's.
        """
        ...

    def begin(self, start: np.ndarray, goal: np.ndarray) -> None:
        """Put the simulator into a recorded state with a recorded goal.

        Args:
            start: the task's start columns of one row, joined.
            goal: the task's goal columns of one row, joined.

        Raises:
            LewmError: the simulator did not take the state.
        """
        ...

    def step(self, action: np.ndarray) -> None:
        """Advance one environment step; action (A,)."""
        ...

    def frame(self) -> np.ndarray:
        """What the camera sees: (H, W, 3) uint8."""
        ...

    def goal_frame(self) -> np.ndarray:
        """What the camera would see at the goal: (H, W, 3) uint8."""
        ...

    def perturb(self, name: str, generator: np.random.Generator) -> float:
        """Stage one of the task's perturbations now, until the next `begin`.

        Returns:
            how large the change is, in the unit of the perturbation.
        """
        ...

    def position(self) -> np.ndarray:
        """Where the controlled thing is: (2,) x and y in pixels of the frame."""
        ...

    def distance(self) -> float:
        """Distance to the goal, in the task's units."""
        ...

    def solved(self) -> bool:
        """Whether the goal is reached now, by the gate that was chosen."""
        ...

    def random_action(self, generator: np.random.Generator) -> np.ndarray:
        """A uniform draw (A,) from the action space."""
        ...

    def groups(self, start: np.ndarray, goal: np.ndarray) -> tuple[str, ...]:
        """Named subsets of pairs that this pair belongs to, reported apart."""
        ...

    def route_valid(self, path: np.ndarray) -> bool | None:
        """Whether a path of positions (T, 2) respects the walls; None where the task has none."""
        ...
