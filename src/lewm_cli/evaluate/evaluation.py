"""The evaluation of an actor on recorded pairs: it acts in all active episodes, and simulators follow it."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lewm_cli.config import EvalProtocol
from lewm_cli.control import Actions, Actor, ActorEpisode, Clock, Frame, Observation, RandomActor, TimeSplit
from lewm_cli.data import Dataset
from lewm_cli.evaluate.eval_result import EpisodeResult, EvalResult, summarize
from lewm_cli.evaluate.journal import Entry, Journal
from lewm_cli.evaluate.redrawn import Redrawn
from lewm_cli.simulate import Begin, EpisodeProgress, Follow, InProcess, Pair, Response, RunActor, SimulatorPool, gather
from lewm_cli.store import Run
from lewm_cli.tasks import Task


@dataclass(frozen=True)
class Film:
    """One pair as it was seen.

    Args:
        number: of the pair; the seed of the start where there is none.
        seen: at every environment step (T), from the start on.
        path: (T, 2) positions, in pixels of the frame.
        success: the goal was reached; None where that is not known.
    """

    number: int
    seen: Sequence[Observation]
    goal: Observation
    path: npt.NDArray[np.floating]
    success: bool | None

    @property
    def frames(self) -> Frame:
        """Those of what was seen: (T, H, W, 3) uint8."""
        return np.stack([one.frame for one in self.seen])


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
        actor: that of the run, or another one that uses it.
        held_out: none of the episodes was trained on.
        film: takes the frames, pair by pair; every frame is rendered only if it is given.
        journal: takes every episode as it ends; those that are in it are not done again.

    Raises:
        LewmError: a simulator does not take a state, or dies again and again.
    """
    pool = simulators or InProcess(task)
    pool.wait()
    begun, clock = resume_clock(journal)
    episodes = EvaluationLoop(protocol, actor, pool, clock, advance, film).play(pairs, journal, begun)
    return EvalResult.of(
        run,
        dataset,
        held_out=held_out,
        begun=begun,
        protocol=protocol,
        manifest=None,
        workers=pool.workers,
        redrawn=redrawn,
        head_sha256=actor.head_sha256,
        prior_sha256=actor.prior_sha256,
        anchors=actor.anchors,
        **summarize(episodes, protocol, count_plans(episodes, protocol, actor), clock.spent, time.monotonic() - begun),
    )


def count_plans(episodes: Sequence[EpisodeResult], protocol: EvalProtocol, actor: Actor) -> int:
    """Plans that an actor made in episodes, or the times that it acted if it plans nothing."""
    steps = (protocol.budget if one.first_hit is None else one.first_hit for one in episodes)
    return sum(-(-taken // actor.steps) for taken in steps)


def submit_random(pool: SimulatorPool, number: int, pair: Pair, protocol: EvalProtocol) -> "Future[Response]":
    """Have random actions taken from the start of a pair; the response is whether they reached the goal."""
    seed = pair_seed(protocol.drawn_with, pair, 1)
    return pool.submit(number, RunActor(pair, protocol.gate, protocol.budget, RandomActor, seed))


@dataclass
class ActiveEpisode:
    """An episode that has begun, and whose simulator waits for actions.

    Args:
        number: of the pair.
        seen: what it looks like now, and `goal` what it is to look like.
        memory: state of the actor in it.
        baseline: success of the random actor from the same start, if it had to be found.
        actions: (K, A) taken so far, in the parts in which they were chosen.
        film: what was seen before each step, if it is filmed.
    """

    number: int
    pair: Pair
    seen: Observation
    goal: Observation
    progress: EpisodeProgress
    memory: ActorEpisode
    baseline: "Future[Response] | None"
    actions: list[Actions] = field(default_factory=list)
    film: list[Observation] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Environment steps taken."""
        return len(self.progress.path) - 1

    def ended(self, budget: int) -> bool:
        """Check that the goal is reached, or the budget used up."""
        return self.progress.first_hit is not None or self.steps >= budget


@dataclass(frozen=True)
class EvaluationLoop:
    """Begins episodes, and lets an actor act in all active ones, until all have ended.

    Args:
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
        """Play every pair; the results are in their order. Episodes that are in the journal are not done again."""
        self.actor.clock = self.clock
        budget, active = self.protocol.budget, list[ActiveEpisode]()
        results = {entry.number: entry.result for entry in journal.entries} if journal else {}
        waiting = deque((number, pair) for number, pair in enumerate(pairs) if number not in results)
        self.advance(len(results) * budget)
        while waiting or active:
            fresh = min(len(waiting), self.actor.at_once - len(active))
            active += self._begin([waiting.popleft() for _ in range(fresh)])
            if not any(one.ended(budget) for one in active):
                self._act(active)
            for one in active:
                if one.ended(budget):
                    results[one.number] = result = self._result(one)
                    if journal:
                        seconds = time.monotonic() - begun
                        journal.add(Entry(number=one.number, result=result, seconds=seconds, spent=self.clock.spent))
            active = [one for one in active if not one.ended(budget)]
        return [results[number] for number in range(len(pairs))]

    def _begin(self, pairs: list[tuple[int, Pair]]) -> list[ActiveEpisode]:
        """Begin episodes, and the random baseline, which goes on while the actor thinks."""
        seed, criterion = self.protocol.drawn_with, self.protocol.gate
        with self.clock("simulator"):
            begun = gather([self.pool.submit(number, Begin(number, pair, criterion)) for number, pair in pairs])
        with self.clock("random"):
            baselines = {
                number: submit_random(self.pool, number, pair, self.protocol)
                for number, pair in pairs
                if number not in self.baselines
            }
        memories = self.actor.begin([one.seen[1] for one in begun], [pair_seed(seed, pair, 0) for _, pair in pairs])
        return [
            ActiveEpisode(number, pair, one.seen[0], one.seen[1], one.found, memory, baselines.get(number))
            for (number, pair), one, memory in zip(pairs, begun, memories, strict=True)
        ]

    def _act(self, active: list[ActiveEpisode]) -> None:
        """Act once in each of these; what is chosen beyond `steps` only shows whether a reached goal stays so."""
        every = self.actor.act([one.memory for one in active], [one.seen for one in active])
        with self.clock("simulator"):
            requests = []
            for one, chosen in zip(active, every, strict=True):
                taken = min(self.actor.steps, self.protocol.budget - one.steps)
                requests.append(
                    Follow(
                        one.number,
                        one.pair,
                        self.protocol.gate,
                        before=np.concatenate([chosen[:0], *one.actions]),
                        actions=chosen[:taken],
                        rest=chosen[taken:],
                        last=one.steps + taken == self.protocol.budget,
                        filming=self.film is not None,
                    )
                )
            responses = gather([self.pool.submit(request.number, request) for request in requests])
        for one, request, response in zip(active, requests, responses, strict=True):
            before, one.progress = one.steps, response.found
            one.actions.append(request.actions)
            if response.seen:
                *before_steps, one.seen = response.seen
                one.film += before_steps
            self.advance(one.steps - before)

    def _result(self, one: ActiveEpisode) -> EpisodeResult:
        found = one.progress
        with self.clock("random"):
            baseline = one.baseline.result().found if one.baseline else self.baselines[one.number]
        if self.film:
            seen = (*one.film, one.seen)
            self.film(Film(one.number, seen, one.goal, found.path, found.first_hit is not None))
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


def resume_clock(journal: Journal | None) -> tuple[float, Clock]:
    """Resume from a journal: when the evaluation would have begun uninterrupted, and a clock with its time so far."""
    entries = journal.entries if journal else ()
    begun = time.monotonic() - max((entry.seconds for entry in entries), default=0.0)
    return begun, Clock(max((entry.spent for entry in entries), key=lambda spent: spent.total, default=TimeSplit()))


def pair_seed(seed: int, pair: Pair, stream: int) -> int:
    """Derive the seed of one pair: stream 0 is the actor's, stream 1 that of the random baseline."""
    sequence = np.random.SeedSequence([seed, pair.start_row, pair.goal_row, stream])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
