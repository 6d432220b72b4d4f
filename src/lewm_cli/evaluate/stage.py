"""What an evaluation asks of simulators, told so that any process can answer it, and answer it again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from lewm_cli.evaluate.pairs import Pair
from lewm_cli.tasks import Simulator, Task

HELD_STEPS = 3
"""Environment steps for which a goal has to stay reached to count as held."""

OWN_RULE = "simulator"
"""The gate that every simulator has."""

NO_FRAMES = np.empty((0, 1, 1, 3), np.uint8)


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    Args:
        frames: (F, H, W, 3) uint8, whatever was asked to be seen.
        found: the rest, which is small.
    """

    frames: np.ndarray
    found: Any = None


class Request(Protocol):
    """Something to do with the simulators of a stage; it holds all that is needed, so that it can be repeated."""

    @property
    def pair(self) -> Pair:
        """Which it is about, for messages."""
        ...

    def answer(self, stage: "Stage") -> Answer:
        """Do it."""
        ...


class Stage:
    """The simulators of one process: one for every open episode, and those that are free.

    Args:
        task: with a simulator.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.trials: dict[int, Trial] = {}
        self._free: list[Simulator] = []

    def take(self, gate: str) -> Simulator:
        """A simulator that nobody uses, and that judges by this gate."""
        simulator = self._free.pop() if self._free else self.task.make_simulator()
        simulator.judge_by(gate)
        return simulator

    def give_back(self, simulator: Simulator) -> None:
        """Let others use it."""
        self._free.append(simulator)


@dataclass
class Trial:
    """One pair in its own simulator.

    Args:
        simulator: judges by the gate of the evaluation.
        pair: start and goal.
        path: positions, one per environment step, the start included.
        first_hit: environment steps until the goal was reached; 0 at the start, None if it was not yet.
        final_distance: to the goal, in the task's units.
        held: whether the goal stayed reached after the first hit; None if it was not reached yet.
        frames: what the camera saw before the steps of the latest request.
    """

    simulator: Simulator
    pair: Pair
    path: list[np.ndarray]
    first_hit: int | None
    final_distance: float
    held: bool | None = None
    frames: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def begin(cls, simulator: Simulator, pair: Pair) -> "Trial":
        """Put a simulator to the start."""
        simulator.begin(pair.start, pair.goal)
        return cls(simulator, pair, [simulator.position()], 0 if simulator.solved() else None, simulator.distance())

    def follow(self, actions: Sequence[np.ndarray] | np.ndarray, *, filming: bool) -> None:
        """Take actions (A,) until the goal is reached."""
        self.frames = []
        for action in actions:
            if filming:
                self.frames.append(self.simulator.frame())
            self.simulator.step(action)
            self.path.append(self.simulator.position())
            self.final_distance = self.simulator.distance()
            if self.simulator.solved():
                self.first_hit = len(self.path) - 1
                return

    def hold(self, actions: Sequence[np.ndarray]) -> None:
        """See whether the reached goal stays so while actions (A,) go on, and after them nothing is done.

        Nothing else of the episode knows of these steps.
        """
        self.held = True
        for action in [*actions, *[_nothing(self.simulator)] * HELD_STEPS][:HELD_STEPS]:
            self.simulator.step(action)
            if not self.simulator.solved():
                self.held = False
                return


@dataclass(frozen=True)
class Progressed:
    """How an episode stands.

    Args:
        path: (T, 2) positions, in pixels of the frame.
        first_hit: environment steps until the goal was reached; 0 at the start, None if it was not yet.
        held: whether it was still reached at each of the next 3 steps; None if it was not reached yet.
        final_distance: to the goal, in the task's units.
        groups: that the pair belongs to.
        route_valid: whether the path kept clear of walls; None where the task has none.
    """

    path: np.ndarray
    first_hit: int | None
    held: bool | None
    final_distance: float
    groups: tuple[str, ...]
    route_valid: bool | None


@dataclass(frozen=True)
class Begin:
    """Begin an episode, judged by a gate; the frames are the start and the goal."""

    number: int
    pair: Pair
    gate: str

    def answer(self, stage: Stage) -> Answer:
        """Begin, whatever was there before."""
        before = stage.trials.pop(self.number, None)
        if before:
            stage.give_back(before.simulator)
        trial = Trial.begin(stage.take(self.gate), self.pair)
        frames = np.stack([trial.simulator.frame(), trial.simulator.goal_frame()])
        if trial.first_hit == 0:
            trial.hold(())
        return _progressed(stage, self.number, trial, frames, last=False)


@dataclass(frozen=True)
class Follow:
    """Follow a plan until the goal is reached; the frames are those before each step if filming, then the present one.

    Args:
        number: of the pair in the evaluation.
        pair: start and goal.
        gate: what counts as reached.
        before: (K, A) actions taken so far, for a simulator that has to begin again.
        actions: (L, A) to take now.
        rest: (R, A) of the plan, which are taken only to see whether a goal that was reached stays so.
        last: whether the episode ends with them.
        filming: whether every step is seen.
    """

    number: int
    pair: Pair
    gate: str
    before: np.ndarray
    actions: np.ndarray
    rest: np.ndarray
    last: bool
    filming: bool

    def answer(self, stage: Stage) -> Answer:
        """Follow, from the start if this stage has not seen the episode as far as it has come."""
        trial = stage.trials.pop(self.number, None)
        if trial is None or len(trial.path) != len(self.before) + 1:
            if trial is not None:
                stage.give_back(trial.simulator)
            trial = Trial.begin(stage.take(self.gate), self.pair)
            trial.follow(self.before, filming=False)
        trial.follow(self.actions, filming=self.filming)
        seen = self.filming or not (self.last or trial.first_hit is not None)
        frames = np.stack([*trial.frames, trial.simulator.frame()]) if seen else NO_FRAMES
        if trial.first_hit is not None:
            trial.hold(np.concatenate([self.actions[trial.first_hit - len(self.before) :], self.rest]))
        return _progressed(stage, self.number, trial, frames, last=self.last)


@dataclass(frozen=True)
class Wander:
    """Act at random from the start, for the floor; the answer is whether the goal was reached."""

    pair: Pair
    gate: str
    budget: int
    seed: int

    def answer(self, stage: Stage) -> Answer:
        """Begin, and take as many random actions as are allowed."""
        generator, simulator = np.random.default_rng(self.seed), stage.take(self.gate)
        simulator.begin(self.pair.start, self.pair.goal)
        steps = 0
        while not (reached := simulator.solved()) and steps < self.budget:
            simulator.step(simulator.random_action(generator))
            steps += 1
        stage.give_back(simulator)
        return Answer(NO_FRAMES, reached)


@dataclass(frozen=True)
class Trace:
    """Follow each of several sequences of actions from the start; the answer are their paths (S, K + 1, 2).

    Args:
        pair: start and goal.
        gate: what counts as reached, which may say what is in the way, too.
        sequences: (S, K, A).
    """

    pair: Pair
    gate: str
    sequences: np.ndarray

    def answer(self, stage: Stage) -> Answer:
        """Begin anew for each of them, and go on when the goal is reached."""
        simulator, paths = stage.take(self.gate), []
        for actions in self.sequences:
            simulator.begin(self.pair.start, self.pair.goal)
            positions = [simulator.position()]
            for action in actions:
                simulator.step(action)
                positions.append(simulator.position())
            paths.append(np.stack(positions))
        stage.give_back(simulator)
        return Answer(NO_FRAMES, np.stack(paths))


@dataclass(frozen=True)
class Stay:
    """Take no action from the start on, 0 in the simulator's units; the answer is whether the goal was reached."""

    pair: Pair
    gate: str
    budget: int

    def answer(self, stage: Stage) -> Answer:
        """Begin, and let the time pass."""
        simulator = stage.take(self.gate)
        trial = Trial.begin(simulator, self.pair)
        if trial.first_hit is None:
            trial.follow([_nothing(simulator)] * self.budget, filming=False)
        stage.give_back(simulator)
        return Answer(NO_FRAMES, trial.first_hit is not None)


@dataclass(frozen=True)
class Rollouts:
    """Follow each of several sequences of actions; the answer are the distances (S,) from the goal at their ends.

    Args:
        pair: start and goal.
        gate: what counts as reached, which may say what is in the way, too.
        before: (K, A) actions that lead to where they begin.
        sequences: (S, L, A).
        seen: whether the frames are what the camera sees at their ends.
    """

    pair: Pair
    gate: str
    before: np.ndarray
    sequences: np.ndarray
    seen: bool

    def answer(self, stage: Stage) -> Answer:
        """Begin anew for each of them, and go on when the goal is reached."""
        simulator, distances, frames = stage.take(self.gate), [], []
        for actions in self.sequences:
            simulator.begin(self.pair.start, self.pair.goal)
            for action in (*self.before, *actions):
                simulator.step(action)
            distances.append(simulator.distance())
            if self.seen:
                frames.append(simulator.frame())
        stage.give_back(simulator)
        return Answer(np.stack(frames) if self.seen else NO_FRAMES, np.array(distances))


@dataclass(frozen=True)
class Look:
    """Draw a pair, whatever counts as reached; the frames are the start and the goal."""

    pair: Pair

    def answer(self, stage: Stage) -> Answer:
        """Begin, and look."""
        simulator = stage.take(OWN_RULE)
        simulator.begin(self.pair.start, self.pair.goal)
        frames = np.stack([simulator.frame(), simulator.goal_frame()])
        stage.give_back(simulator)
        return Answer(frames)


def _nothing(simulator: Simulator) -> np.ndarray:
    """No action (A,)."""
    return np.zeros_like(simulator.random_action(np.random.default_rng(0)))


def _progressed(stage: Stage, number: int, trial: Trial, frames: np.ndarray, *, last: bool) -> Answer:
    """How a trial stands; an ended one leaves the stage."""
    simulator, pair, path = trial.simulator, trial.pair, np.stack(trial.path)
    if last or trial.first_hit is not None:
        stage.give_back(simulator)
    else:
        stage.trials[number] = trial
    groups, valid = simulator.groups(pair.start, pair.goal), simulator.route_valid(path)
    return Answer(frames, Progressed(path, trial.first_hit, trial.held, trial.final_distance, groups, valid))
