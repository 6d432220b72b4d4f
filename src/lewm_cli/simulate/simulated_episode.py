"""One episode in its simulator, in whatever process: from a start towards a goal, step by step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lewm_cli.control import Actions, Observation
from lewm_cli.tasks import Simulator

HELD_STEPS = 3
"""Environment steps for which a goal has to stay reached to count as held."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Pair:
    """One start and its goal: number of the recorded episode, rows, and states in the simulator's units."""

    episode: int
    start_row: int
    goal_row: int
    start: Array
    goal: Array


@dataclass(frozen=True)
class EpisodeProgress:
    """The state of an episode, as far as its result goes.

    Args:
        path: (T, 2) positions, in pixels of the frame.
        first_hit: environment steps until the goal was reached; 0 at the start, None if it was not yet.
        held: the goal was still reached at each of the next 3 steps; None if it was not reached yet.
        final_distance: to the goal, in the task's units.
        groups: that the pair belongs to.
        route_valid: the path kept clear of walls; None where the task has none.
    """

    path: Array
    first_hit: int | None
    held: bool | None
    final_distance: float
    groups: tuple[str, ...]
    route_valid: bool | None


def observe(simulator: Simulator) -> Observation:
    """Look at a simulator as it is now."""
    return Observation(np.array(simulator.frame()), simulator.proprio())


def observe_goal(simulator: Simulator) -> Observation:
    """Look at it as it would be if the goal were reached."""
    return Observation(np.array(simulator.goal_frame()), simulator.goal_proprio())


class SimulatedEpisode:
    """A pair in a simulator of its own; `seen` is what it looked like before the steps of the latest request."""

    def __init__(self, simulator: Simulator, pair: Pair) -> None:
        simulator.begin(pair.start, pair.goal)
        self.simulator, self.pair = simulator, pair
        self.path, self.seen = [simulator.position()], list[Observation]()
        self.first_hit: int | None = 0 if simulator.solved() else None
        self.held: bool | None = None
        self.final_distance = simulator.distance()

    def follow(self, actions: Sequence[Array] | Actions, *, filming: bool) -> None:
        """Take actions (A,) until the goal is reached."""
        self.seen = []
        for action in actions:
            if filming:
                self.seen.append(observe(self.simulator))
            self.simulator.step(action)
            self.path.append(self.simulator.position())
            self.final_distance = self.simulator.distance()
            if self.simulator.solved():
                self.first_hit = len(self.path) - 1
                return

    def hold(self, actions: Sequence[Array] | Actions) -> None:
        """Check that the reached goal stays so while actions (A,) go on, and after them no action is taken.

        Nothing else of the episode knows of these steps.
        """
        nothing = np.zeros_like(self.simulator.random_action(np.random.default_rng(0)))
        self.held = True
        for action in [*actions, *[nothing] * HELD_STEPS][:HELD_STEPS]:
            self.simulator.step(action)
            if not self.simulator.solved():
                self.held = False
                return

    @property
    def progress(self) -> EpisodeProgress:
        """The state of the episode now."""
        path = np.stack(self.path)
        groups = self.simulator.groups(self.pair.start, self.pair.goal)
        valid = self.simulator.route_valid(path)
        return EpisodeProgress(path, self.first_hit, self.held, self.final_distance, groups, valid)
