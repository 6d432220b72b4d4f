"""The evaluation loop: an actor acts in all active episodes, and simulators follow it, until all have ended."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from lewm_cli.config import EvalProtocol
from lewm_cli.control import Actor, ActorEpisode, Clock, RandomActor, TimeSplit
from lewm_cli.evaluate.film import Film
from lewm_cli.evaluate.journal import Entry, Journal
from lewm_cli.evaluate.pairs import Pair
from lewm_cli.evaluate.result import EpisodeResult
from lewm_cli.simulate import ActiveEpisode, Response, RunActor, SimulatorPool, begin_episodes, follow_actions


@dataclass(frozen=True)
class _Playing:
    """An active episode, the actor's state in it, and the random baseline of the same pair, if it is not known."""

    episode: ActiveEpisode
    state: ActorEpisode
    baseline: "Future[Response] | None"


@dataclass(frozen=True)
class EvaluationLoop:
    """Begins episodes, and lets an actor act in all active ones, until all have ended.

    Args:
        protocol: budget, success criterion and seeds.
        actor: acts.
        pool: simulates.
        clock: times the parts, those of the actor included.
        advance: told the number of environment steps done since the last call, all pairs together.
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
        waiting, active = deque(pairs.items()), list[_Playing]()
        while waiting or active:
            fresh = [waiting.popleft() for _ in range(min(len(waiting), self.actor.at_once - len(active)))]
            active += self._begin(fresh)
            if not any(map(self._has_ended, active)):
                self._act(active)
            for one in filter(self._has_ended, active):
                yield one.episode.number, self._result(one)
            active = [one for one in active if not self._has_ended(one)]

    def _begin(self, pairs: list[tuple[int, Pair]]) -> list[_Playing]:
        """Begin episodes, and the random baseline, which goes on while the actor thinks."""
        criterion, budget = self.protocol.gate, self.protocol.budget
        with self.clock("simulator"):
            episodes = begin_episodes(self.pool, pairs, criterion)
        with self.clock("random"):
            baselines = [
                None
                if number in self.baselines
                else self.pool.submit(
                    number, RunActor(pair, criterion, budget, RandomActor, self._seed(pair, stream=1))
                )
                for number, pair in pairs
            ]
        seeds = [self._seed(pair, stream=0) for _, pair in pairs]
        states = self.actor.begin([episode.goal_frame for episode in episodes], seeds)
        return [_Playing(*each) for each in zip(episodes, states, baselines, strict=True)]

    def _act(self, active: list[_Playing]) -> None:
        """Act once in each of these."""
        episodes = [one.episode for one in active]
        chosen = self.actor.act([one.state for one in active], [episode.frame for episode in episodes])
        before = [episode.steps for episode in episodes]
        with self.clock("simulator"):
            follow_actions(
                self.pool,
                episodes,
                chosen,
                steps=self.actor.steps,
                budget=self.protocol.budget,
                criterion=self.protocol.gate,
                filming=self.film is not None,
            )
        for episode, steps in zip(episodes, before, strict=True):
            self.advance(episode.steps - steps)

    def _has_ended(self, one: _Playing) -> bool:
        return one.episode.ended(self.protocol.budget)

    def _result(self, one: _Playing) -> EpisodeResult:
        episode, found = one.episode, one.episode.progress
        with self.clock("random"):
            baseline = one.baseline.result().found if one.baseline else self.baselines[episode.number]
        if self.film:
            frames = np.stack([*episode.film, episode.frame])
            self.film(Film(episode.number, frames, episode.goal_frame, found.path, found.first_hit is not None))
        self.advance(self.protocol.budget - episode.steps)
        return EpisodeResult(
            seed=self.protocol.drawn_with,
            episode=episode.pair.episode,
            start_row=episode.pair.start_row,
            goal_row=episode.pair.goal_row,
            groups=found.groups,
            solved_at_start=found.first_hit == 0,
            success=found.first_hit is not None,
            first_hit=found.first_hit,
            held=found.held,
            final_distance=found.final_distance,
            route_valid=found.route_valid,
            random_success=baseline,
            iterations=one.state.iterations,
            flops=one.state.flops,
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
