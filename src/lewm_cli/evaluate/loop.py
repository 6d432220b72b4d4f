"""The evaluation loop: plans for all open episodes in one batch, then the plans followed in the simulators."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from lewm_cli.config import EvalProtocol
from lewm_cli.evaluate.asking import ask
from lewm_cli.evaluate.clock import Clock, TimeSplit
from lewm_cli.evaluate.costs import Costs, embed_each
from lewm_cli.evaluate.fleet import Simulators, gather
from lewm_cli.evaluate.journal import Entry, Journal
from lewm_cli.evaluate.open_episode import Open
from lewm_cli.evaluate.pairs import Pair
from lewm_cli.evaluate.result import EpisodeResult
from lewm_cli.evaluate.stage import Begin, Follow, Wander
from lewm_cli.plan import Cost, Problem, Solver
from lewm_cli.store import Run
from lewm_cli.workers import available_cores

OPEN_PER_CORE = 8
"""Episodes open at once on a CPU, where each is planned for by itself anyway: few, so that some end early."""

OPEN_ON_ACCELERATOR = 64
"""Episodes open at once, planned for in one batch."""


@dataclass(frozen=True)
class Film:
    """What the camera saw of one pair.

    Args:
        number: of the pair; the seed of the start where there is none.
        frames: (T, H, W, 3) uint8, from the start on.
        goal: (H, W, 3) uint8.
        path: (T, 2) positions, in pixels of the frame.
        success: whether the goal was reached; None where nobody can tell.
    """

    number: int
    frames: np.ndarray
    goal: np.ndarray
    path: np.ndarray
    success: bool | None


@dataclass(frozen=True)
class Loop:
    """Begins episodes, plans for all open ones and follows the plans, until all have ended.

    Args:
        run: encodes goals, and says what actions mean.
        protocol: budget, gate, planner and seeds.
        solver: finds the plans.
        costs: what they are judged by.
        simulators: of the task.
        clock: times the parts.
        advance: told the number of environment steps done since the last call, all pairs together.
        at_once: episodes open at once, at most.
        film: takes what the camera saw, pair by pair; frames are only rendered if given.
        floors: whether random actions reach the goal, by pair, where that is known; the random policy acts elsewhere.
    """

    run: Run
    protocol: EvalProtocol
    solver: Solver
    costs: Costs
    simulators: Simulators
    clock: Clock
    advance: Callable[[int], None]
    at_once: int
    film: Callable[[Film], None] | None = None
    floors: Mapping[int, bool] = field(default_factory=dict)

    def play(self, pairs: list[Pair], journal: Journal | None, begun: float) -> list[EpisodeResult]:
        """What becomes of every pair, in their order.

        Args:
            pairs: starts and goals.
            journal: takes every episode as it ends; those that are in it are not done again.
            begun: when, as `time.monotonic()` gives it.
        """
        episodes = {entry.number: entry.result for entry in journal.entries} if journal else {}
        self.advance(len(episodes) * self.protocol.budget)
        for number, episode in self.episodes({n: pair for n, pair in enumerate(pairs) if n not in episodes}):
            episodes[number] = episode
            if journal:
                seconds = time.monotonic() - begun
                journal.add(Entry(number=number, result=episode, seconds=seconds, spent=self.clock.spent))
        return [episodes[number] for number in range(len(pairs))]

    def episodes(self, pairs: dict[int, Pair]) -> Iterator[tuple[int, EpisodeResult]]:
        """Do these pairs, and yield each as it ends."""
        waiting, open_ones = deque(pairs.items()), list[Open]()
        while waiting or open_ones:
            fresh = [waiting.popleft() for _ in range(min(len(waiting), self.at_once - len(open_ones)))]
            open_ones += self._begin(fresh)
            ended = [one for one in open_ones if self._has_ended(one)]
            if not ended:
                self._plan_and_follow(open_ones)
                ended = [one for one in open_ones if self._has_ended(one)]
            open_ones = [one for one in open_ones if not self._has_ended(one)]
            for one in ended:
                yield one.number, self._result(one)

    def _begin(self, pairs: list[tuple[int, Pair]]) -> list[Open]:
        """Begin episodes, and have the random policy begin, which goes on while plans are made."""
        gate, budget = self.protocol.gate, self.protocol.budget
        with self.clock("simulator"):
            begun = gather([self.simulators.ask(number, Begin(number, pair, gate)) for number, pair in pairs])
        with self.clock("random"):
            floors = [
                self.simulators.ask(number, Wander(pair, gate, budget, self._seed(pair, stream=1)))
                if number not in self.floors
                else None
                for number, pair in pairs
            ]
        fresh = []
        for (number, pair), answer, floor in zip(pairs, begun, floors, strict=True):
            generator = torch.Generator().manual_seed(self._seed(pair, stream=0))
            none = np.empty((0, self.run.card.inputs.actions.dim), np.float32)
            frame, goal_frame = answer.frames
            fresh.append(Open(number, pair, generator, floor, frame, goal_frame, answer.found, none))
        for one, goal in zip(fresh, embed_each(self.run, [one.goal_frame for one in fresh], self.clock), strict=True):
            one.goal = goal
        return fresh

    def _plan_and_follow(self, open_ones: list[Open]) -> None:
        """Plan once for each of these, and follow the plans."""
        inputs, block = self.run.card.inputs, self.run.card.inputs.frameskip
        cost = self.costs(open_ones)
        with self.clock("planner"):
            plan = self.solver.solve(self._problem(cost, open_ones))
        for number, one in enumerate(open_ones):
            one.planned(plan.of(number))
            if self.protocol.planner.warm_start:
                one.guess = plan.warm_start(number, self.protocol.planner.receding)
        actions = inputs.actions.denormalize(plan.actions.numpy().reshape(len(open_ones), -1, inputs.actions.dim))
        with self.clock("simulator"):
            asked = []
            for one, sequence in zip(open_ones, actions, strict=True):
                steps = min(self.protocol.planner.receding * block, self.protocol.budget - one.steps)
                request = Follow(
                    one.number,
                    one.pair,
                    self.protocol.gate,
                    one.actions,
                    sequence[:steps],
                    sequence[steps:],
                    last=one.steps + steps == self.protocol.budget,
                    filming=self.film is not None,
                )
                asked.append((request, self.simulators.ask(one.number, request)))
            gather([answer for _, answer in asked])
        for one, (request, answered) in zip(open_ones, asked, strict=True):
            answer, before = answered.result(), one.steps
            one.progressed, one.actions = answer.found, np.concatenate([one.actions, request.actions])
            if len(answer.frames):
                *seen, one.frame = answer.frames
                one.film += seen
            self.advance(one.steps - before)

    def _problem(self, cost: Cost, open_ones: list[Open]) -> Problem:
        """What to plan for these."""
        generators, guesses = [one.generator for one in open_ones], [one.guess for one in open_ones]
        return ask(self.run, self.protocol.planner, cost, generators, guesses)

    def _has_ended(self, one: Open) -> bool:
        return one.progressed.first_hit is not None or one.steps >= self.protocol.budget

    def _result(self, one: Open) -> EpisodeResult:
        with self.clock("random"):
            reached_at_random = one.floor.result().found if one.floor else self.floors[one.number]
        found = one.progressed
        if self.film:
            frames = np.stack([*one.film, one.frame])
            self.film(Film(one.number, frames, one.goal_frame, found.path, found.first_hit is not None))
        self.advance(self.protocol.budget - one.steps)
        return EpisodeResult(
            seed=self.protocol.drawn_with,
            episode=one.pair.episode,
            start_row=one.pair.start_row,
            goal_row=one.pair.goal_row,
            groups=found.groups,
            solved_at_start=found.first_hit == 0,
            success=found.first_hit is not None,
            first_hit=found.first_hit,
            held=found.held,
            final_distance=found.final_distance,
            route_valid=found.route_valid,
            random_success=reached_at_random,
            iterations=one.iterations,
            flops=one.flops,
        )

    def _seed(self, pair: Pair, stream: int) -> int:
        return pair_seed(self.protocol.drawn_with, pair, stream)


def resumed(journal: Journal | None) -> tuple[float, Clock]:
    """When an evaluation would have begun if it had not been interrupted, and what it has spent since then."""
    entries = journal.entries if journal else ()
    begun = time.monotonic() - max((entry.seconds for entry in entries), default=0.0)
    return begun, Clock(max((entry.spent for entry in entries), key=lambda spent: spent.total, default=TimeSplit()))


def open_at_once(run: Run) -> int:
    """How many episodes are worth being open at once where a model plans."""
    return OPEN_PER_CORE * available_cores() if run.device.type == "cpu" else OPEN_ON_ACCELERATOR


def pair_seed(seed: int, pair: Pair, stream: int) -> int:
    """Of what is drawn for a pair: one stream for planning, another for the random policy."""
    sequence = np.random.SeedSequence([seed, pair.start_row, pair.goal_row, stream])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
