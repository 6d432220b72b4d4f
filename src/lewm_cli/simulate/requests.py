"""Requests to simulators. Each holds all that is needed, so that any process can run it, and run it again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lewm_cli.control import Actions, ActionSampler, Actor, Frame, Observation
from lewm_cli.simulate.simulated_episode import Array, Pair, SimulatedEpisode, observe, observe_goal
from lewm_cli.tasks import Simulator, Task

OWN_CRITERION = "simulator"
"""The success criterion that every simulator has."""

NOTHING = Observation(np.empty((0, 0, 3), np.uint8))
"""Seen by who looks at nothing."""


@dataclass(frozen=True)
class Response:
    """The outcome of a request: what was seen, if that was asked for, and the rest, which is small."""

    seen: Sequence[Observation] = ()
    found: Any = None

    @property
    def frames(self) -> Frame:
        """Those of what was seen: (F, H, W, 3), at least one."""
        return np.stack([one.frame for one in self.seen])


class SimulatorSet:
    """The simulators of one process: one for every active episode, and those that are free."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.episodes: dict[int, SimulatedEpisode] = {}
        self._free: list[Simulator] = []

    def acquire(self, criterion: str) -> Simulator:
        """Take a free simulator, or make one, and have it judge by this success criterion."""
        if self._free:
            simulator = self._free.pop()
        else:
            assert self.task.make_simulator is not None
            simulator = self.task.make_simulator()
        simulator.judge_by(criterion)
        return simulator

    def release(self, simulator: Simulator) -> None:
        """Let others use a simulator."""
        self._free.append(simulator)

    def keep(self, number: int, episode: SimulatedEpisode, seen: Sequence[Observation], *, ended: bool) -> Response:
        """Report an episode; the simulator of an ended one is released."""
        if ended or episode.first_hit is not None:
            self.release(episode.simulator)
        else:
            self.episodes[number] = episode
        return Response(seen, episode.progress)


class Request(Protocol):
    """Work for the simulators of one process."""

    @property
    def pair(self) -> Pair:
        """The pair that it is about, for messages."""

    def run(self, simulators: SimulatorSet) -> Response:
        """Do the work."""


@dataclass(frozen=True)
class Begin:
    """Begins an episode, judged by a success criterion; what is seen is the start and the goal."""

    number: int
    pair: Pair
    criterion: str

    def run(self, simulators: SimulatorSet) -> Response:
        """Begin, whatever was there before."""
        before = simulators.episodes.pop(self.number, None)
        if before:
            simulators.release(before.simulator)
        episode = SimulatedEpisode(simulators.acquire(self.criterion), self.pair)
        seen = observe(episode.simulator), observe_goal(episode.simulator)
        if episode.first_hit == 0:
            episode.hold(())
        return simulators.keep(self.number, episode, seen, ended=False)


@dataclass(frozen=True)
class Follow:
    """Follows actions until the goal is reached; what is seen is every step if filming, then the last state.

    Args:
        number: of the pair in the evaluation.
        before: (K, A) actions taken so far, for a simulator that has to begin again.
        actions: (L, A) to take now.
        rest: (R, A) of the plan, which are taken only to see whether a goal that was reached stays so.
        last: the episode ends with them.
        filming: every step is seen.
    """

    number: int
    pair: Pair
    criterion: str
    before: Actions
    actions: Actions
    rest: Actions
    last: bool
    filming: bool

    def run(self, simulators: SimulatorSet) -> Response:
        """Follow, from the start if this process has not seen the episode as far as it has come."""
        episode = simulators.episodes.pop(self.number, None)
        if episode is None or len(episode.path) != len(self.before) + 1:
            if episode is not None:
                simulators.release(episode.simulator)
            episode = SimulatedEpisode(simulators.acquire(self.criterion), self.pair)
            episode.follow(self.before, filming=False)
        episode.follow(self.actions, filming=self.filming)
        looked_at = self.filming or not (self.last or episode.first_hit is not None)
        seen = (*episode.seen, observe(episode.simulator)) if looked_at else ()
        if episode.first_hit is not None:
            episode.hold(np.concatenate([self.actions[episode.first_hit - len(self.before) :], self.rest]))
        return simulators.keep(self.number, episode, seen, ended=self.last)


@dataclass(frozen=True)
class RunActor:
    """Runs an actor that looks at nothing, from the start; the response is whether the goal was reached."""

    pair: Pair
    criterion: str
    budget: int
    actor: Callable[[ActionSampler], Actor]
    seed: int = 0

    def run(self, simulators: SimulatorSet) -> Response:
        simulator, steps = simulators.acquire(self.criterion), 0
        simulator.begin(self.pair.start, self.pair.goal)
        actor = self.actor(simulator.random_action)
        episodes = actor.begin([NOTHING], [self.seed])
        while not (reached := simulator.solved()) and steps < self.budget:
            (actions,) = actor.act(episodes, [NOTHING])
            simulator.step(actions[0])
            steps += 1
        simulators.release(simulator)
        return Response(found=reached)


@dataclass(frozen=True)
class RolloutResult:
    """Positions (S, L + 1, 2) on the way of sequences of actions, and distances (S,) from the goal at their ends."""

    paths: Array
    distances: Array


@dataclass(frozen=True)
class Rollouts:
    """Follows several sequences of actions, and goes on when the goal is reached; the response is `RolloutResult`.

    Args:
        criterion: of success, which may define what is in the way, too.
        before: (K, A) actions that lead to where the sequences begin.
        sequences: (S, L, A).
        rendered: their ends are seen; nothing otherwise.
    """

    pair: Pair
    criterion: str
    before: Actions
    sequences: Actions
    rendered: bool = False

    def run(self, simulators: SimulatorSet) -> Response:
        simulator, paths, distances, seen = simulators.acquire(self.criterion), [], [], []
        for actions in self.sequences:
            simulator.begin(self.pair.start, self.pair.goal)
            for action in self.before:
                simulator.step(action)
            path = [simulator.position()]
            for action in actions:
                simulator.step(action)
                path.append(simulator.position())
            paths.append(np.stack(path))
            distances.append(simulator.distance())
            if self.rendered:
                seen.append(observe(simulator))
        simulators.release(simulator)
        return Response(seen, RolloutResult(np.stack(paths), np.array(distances)))


@dataclass(frozen=True)
class Render:
    """Draws the start and the goal of a pair, whatever counts as success."""

    pair: Pair

    def run(self, simulators: SimulatorSet) -> Response:
        simulator = simulators.acquire(OWN_CRITERION)
        simulator.begin(self.pair.start, self.pair.goal)
        seen = observe(simulator), observe_goal(simulator)
        simulators.release(simulator)
        return Response(seen)
