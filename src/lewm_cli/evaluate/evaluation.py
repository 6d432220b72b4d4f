"""The evaluation of an actor on recorded pairs: it acts in all active episodes, and simulators follow it."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lewm_cli.config import EvalProtocol
from lewm_cli.control import Actor, Clock, Frame, RandomActor, TimeSplit
from lewm_cli.data import Dataset
from lewm_cli.evaluate.eval_result import EpisodeResult, EvalResult
from lewm_cli.evaluate.journal import Entry, Journal
from lewm_cli.evaluate.redrawn import Redrawn
from lewm_cli.simulate import ActiveEpisode, InProcess, Pair, RunActor, SimulatorPool, begin_episodes, follow_actions
from lewm_cli.store import Run
from lewm_cli.tasks import Task


@dataclass(frozen=True)
class Film:
    """The frames of one pair.

    Args:
        number: of the pair; the seed of the start where there is none.
        frames: (T, H, W, 3) uint8, from the start on.
        goal: (H, W, 3) uint8.
        path: (T, 2) positions, in pixels of the frame.
        success: the goal was reached; None where that is not known.
    """

    number: int
    frames: Frame
    goal: Frame
    path: npt.NDArray[np.floating]
    success: bool | None


def evaluate(
    run: Run,
    task: Task,
    dataset: Dataset,
    pairs: list[Pair],
    protocol: EvalProtocol,
    actor: Actor,
    *,
    held_out: bool,
    advance: Callable[[int], None],
    film: Callable[[Film], None] | None = None,
    simulators: SimulatorPool | None = None,
    journal: Journal | None = None,
    redrawn: Redrawn | None = None,
) -> EvalResult:
    """Let an actor act from every start towards its goal, until that is reached or the budget is used up.

    What is drawn for a pair depends on the protocol's seed and the pair alone. On a CPU its outcome does, too, bit for
    bit: not on the other pairs, on how many are active, or on the processes that simulate. On an accelerator the
    others of the batch may change how a latent is rounded. After the first hit the actions are followed for a few steps
    more, to see whether the goal stays reached; nothing else of the result knows of them.

    Args:
        run: the model that is measured, in eval mode on its device.
        task: with a simulator.
        dataset: where the pairs come from.
        pairs: starts and goals.
        protocol: budget, success criterion, planner and seeds.
        actor: acts; a `Planner` with the run, or another one that uses it.
        held_out: none of the episodes was trained on; stored.
        advance: gets the number of environment steps done since the last call, all pairs together.
        film: takes the frames, pair by pair; every frame is rendered only if it is given.
        simulators: of the task; in this process if not given.
        journal: takes every episode as it ends; those that are in it are not done again.
        redrawn: how well recorded states were drawn again; stored.

    Raises:
        LewmError: a simulator does not take a state, or dies again and again.
    """
    pool = simulators or InProcess(task)
    pool.wait()
    begun, clock = resume_clock(journal)
    episodes = EvaluationLoop(protocol, actor, pool, clock, advance, film).play(pairs, journal, begun)
    steps = (protocol.budget if one.first_hit is None else one.first_hit for one in episodes)
    return EvalResult.summarizing(
        run,
        dataset,
        episodes,
        protocol,
        held_out=held_out,
        begun=begun,
        plans=sum(-(-taken // actor.steps) for taken in steps),
        split=clock.spent,
        workers=pool.workers,
        redrawn=redrawn,
        head_sha256=actor.head_sha256,
    )


@dataclass(frozen=True)
class EvaluationLoop:
    """Begins episodes, and lets an actor act in all active ones, until all have ended.

    Args:
        protocol: budget, success criterion and seeds.
        actor: acts.
        pool: simulates.
        clock: times the parts, those of the actor included.
        advance: gets the number of environment steps done since the last call, all pairs together.
        film: takes the frames, pair by pair; every frame is rendered only if it is given.
        baselines: success of random actions, by pair, where that is known; the random actor acts elsewhere.
    """

    protocol: EvalProtocol
    actor: Actor
    pool: SimulatorPool
    clock: Clock
    advance: Callable[[int], None]
    film: Callable[[Film], None] | None = None
    baselines: Mapping[int, bool] = field(default_factory=dict)

    def play(self, pairs: list[Pair], journal: Journal | None, begun: float) -> list[EpisodeResult]:
        """Play every pair; the results are in their order.

        Args:
            pairs: starts and goals.
            journal: takes every episode as it ends; those that are in it are not done again.
            begun: when, as `time.monotonic()` gives it.
        """
        self.actor.clock = self.clock
        results = {entry.number: entry.result for entry in journal.entries} if journal else {}
        self.advance(len(results) * self.protocol.budget)
        for number, result in self._play({n: pair for n, pair in enumerate(pairs) if n not in results}):
            results[number] = result
            if journal:
                seconds = time.monotonic() - begun
                journal.add(Entry(number=number, result=result, seconds=seconds, spent=self.clock.spent))
        return [results[number] for number in range(len(pairs))]

    def _play(self, pairs: dict[int, Pair]) -> Iterator[tuple[int, EpisodeResult]]:
        """Play these pairs, and yield each result as its episode ends."""
        waiting, active, budget = deque(pairs.items()), list[ActiveEpisode](), self.protocol.budget
        while waiting or active:
            active += self._begin(
                [waiting.popleft() for _ in range(min(len(waiting), self.actor.at_once - len(active)))]
            )
            if not any(one.ended(budget) for one in active):
                self._act(active)
            for one in active:
                if one.ended(budget):
                    yield one.number, self._result(one)
            active = [one for one in active if not one.ended(budget)]

    def _begin(self, pairs: list[tuple[int, Pair]]) -> list[ActiveEpisode]:
        """Begin episodes, and the random baseline, which goes on while the actor thinks."""
        criterion, budget = self.protocol.gate, self.protocol.budget
        with self.clock("simulator"):
            fresh = begin_episodes(self.pool, pairs, criterion)
        with self.clock("random"):
            for one in fresh:
                if one.number not in self.baselines:
                    request = RunActor(one.pair, criterion, budget, RandomActor, self._seed(one.pair, stream=1))
                    one.baseline = self.pool.submit(one.number, request)
        seeds = [self._seed(one.pair, stream=0) for one in fresh]
        memories = self.actor.begin([one.goal_frame for one in fresh], seeds)
        for one, memory in zip(fresh, memories, strict=True):
            one.memory = memory
        return fresh

    def _act(self, active: list[ActiveEpisode]) -> None:
        """Act once in each of these."""
        chosen = self.actor.act([one.memory for one in active], [one.frame for one in active])
        before = [one.steps for one in active]
        with self.clock("simulator"):
            follow_actions(
                self.pool,
                active,
                chosen,
                steps=self.actor.steps,
                budget=self.protocol.budget,
                criterion=self.protocol.gate,
                filming=self.film is not None,
            )
        for one, steps in zip(active, before, strict=True):
            self.advance(one.steps - steps)

    def _result(self, one: ActiveEpisode) -> EpisodeResult:
        found = one.progress
        with self.clock("random"):
            baseline = one.baseline.result().found if one.baseline else self.baselines[one.number]
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
            random_success=baseline,
            iterations=one.memory.iterations,
            flops=one.memory.flops,
        )

    def _seed(self, pair: Pair, stream: int) -> int:
        return pair_seed(self.protocol.drawn_with, pair, stream)


def resume_clock(journal: Journal | None) -> tuple[float, Clock]:
    """Resume from a journal: when the evaluation would have begun uninterrupted, and a clock with its time so far."""
    entries = journal.entries if journal else ()
    begun = time.monotonic() - max((entry.seconds for entry in entries), default=0.0)
    return begun, Clock(max((entry.spent for entry in entries), key=lambda spent: spent.total, default=TimeSplit()))


def pair_seed(seed: int, pair: Pair, stream: int) -> int:
    """Derive the seed of one pair: one stream for the actor, another for the random baseline."""
    sequence = np.random.SeedSequence([seed, pair.start_row, pair.goal_row, stream])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
