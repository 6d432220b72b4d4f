"""The result of an evaluation, with everything needed to believe and repeat it."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
from pydantic import PositiveInt

from lewm_cli.config import DatasetIdentity, EvalProtocol, Section
from lewm_cli.control import TimeSplit
from lewm_cli.evaluate.redrawn import Redrawn
from lewm_cli.evaluate.reference_result import References
from lewm_cli.statistics import Difference, Rate
from lewm_cli.store import Measurement

NOT_SOLVED = "start not solved"
"""Name of the headline where solved starts are left out of it."""


class EpisodeResult(Section):
    """The outcome of one pair under one seed: planned for and, from the same start, acted on at random."""

    seed: int
    """Seed of planning and of the random policy."""
    episode: int
    start_row: int
    goal_row: int
    groups: tuple[str, ...]
    solved_at_start: bool
    success: bool
    first_hit: int | None
    """Environment steps until the goal was first reached; 0 if the start was already there."""
    held: bool | None
    """True if it was still reached at each of the next 3 steps; None if it never was."""
    final_distance: float
    route_valid: bool | None
    """True if the path up to the first hit kept clear of walls; None where the task has none."""
    random_success: bool
    iterations: int
    """Solver iterations, summed over plans."""
    flops: float
    """Operations of the plain rollout, summed over plans, or of a policy's forward passes."""


class GroupResult(Section):
    """Rates over a subset of pairs, all seeds together; `route_valid` is success whose route kept clear of walls."""

    name: str
    pairs: PositiveInt
    success: Rate
    random: Rate
    """The random baseline."""
    route_valid: Rate | None
    held: Rate
    """Success that outlasted the next 3 steps."""
    first_hit: float | None
    """Environment steps, median of the pairs that succeeded without being solved at the start; None if none did."""
    final_distance: float
    """Median over all pairs of the distance when the episode ended, which is at the first hit."""

    @classmethod
    def of(cls, name: str, episodes: Sequence[EpisodeResult]) -> Self:
        """Summarizes the same pairs under every seed, seed by seed; at least one."""
        judged = any(one.route_valid is not None for one in episodes)
        hits = [one.first_hit for one in episodes if one.first_hit]
        return cls(
            name=name,
            pairs=len(first_seed(episodes)),
            success=rate([one.success for one in episodes], episodes),
            random=rate([one.random_success for one in episodes], episodes),
            route_valid=rate([one.success and bool(one.route_valid) for one in episodes], episodes) if judged else None,
            held=rate([bool(one.held) for one in episodes], episodes),
            first_hit=float(np.median(hits)) if hits else None,
            final_distance=float(np.median([one.final_distance for one in episodes])),
        )


class PairsOrigin(Section):
    """The manifest that pairs were read from, or written to."""

    file: str
    sha256: str
    protocol: str
    """The protocol that they were drawn by."""


class EvalResult(Measurement):
    """Success on pairs with goals at one distance, under one or several seeds of planning, and the random baseline."""

    protocol: EvalProtocol
    """That of the first seed."""
    manifest: PairsOrigin | None
    """None if the pairs were drawn and stored in no manifest."""
    overall: GroupResult
    """The headline: all pairs, or those not solved at the start if the protocol leaves the others out."""
    success_by_seed: dict[int, float]
    """Share of the headline that succeeded under every seed of planning alone."""
    above_random: Difference
    """The headline minus the random baseline, pair by pair."""
    all_pairs: GroupResult
    not_solved: GroupResult | None
    """Pairs whose start was no solution; None if every start was."""
    solved_at_start: Rate
    groups: tuple[GroupResult, ...]
    """Named subsets of the pairs of the headline."""
    plans: int
    """Plans that were made; a policy plans nothing, and the times that it acted are counted."""
    seconds_per_plan: float
    iterations_per_plan: float | None
    """Solver iterations, mean; None where nothing is planned."""
    flops_per_plan: float
    """Operations of the plain rollout, or of a policy's forward pass, mean."""
    seconds_per_episode: float
    """Wall time of the whole evaluation, all pairs side by side."""
    split: TimeSplit
    workers: int
    """Processes that simulated; 1 is the one that planned."""
    redrawn: Redrawn | None
    head_sha256: str | None
    """Digest of the file of the head that plans were judged by; None if the objective asks none."""
    prior_sha256: str | None = None
    """Digest of the file of the behavior prior that plans began at, or that acted; None if none was asked."""
    anchors: DatasetIdentity | None = None
    """The recording that `planner.anchors` named; None if none was."""
    references: References | None = None
    """None if none were asked for."""
    episodes: tuple[EpisodeResult, ...]
    """By seed, and then by row."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """The few fields that a notebook shows, and the headline beside the random baseline."""
        yield from super().__repr_args__()
        yield from (("success", str(self.overall.success)), ("random", str(self.overall.random)))

    @classmethod
    def over_seeds(cls, results: Sequence[Self]) -> Self:
        """Joins results of the same pairs under several seeds of planning, the newest last; of one it is that one."""
        first, last = results[0], results[-1]
        if first is last:
            return first
        joined = summarize(
            [one for result in results for one in result.episodes],
            first.protocol,
            sum(result.plans for result in results),
            TimeSplit(**{part: sum(getattr(one.split, part) for one in results) for part in TimeSplit.model_fields}),
            sum(result.seconds_per_episode * len(result.episodes) for result in results),
        )
        seconds = sum(result.seconds for result in results)
        return last.model_copy(update=joined | {"protocol": first.protocol, "seconds": seconds})

    @property
    def in_headline(self) -> np.ndarray:
        """Mask of the episodes that are part of the headline, (N,)."""
        every = self.overall.name != NOT_SOLVED
        return np.array([every or not one.solved_at_start for one in self.episodes])

    def counted(self) -> list[EpisodeResult]:
        """The episodes of the headline, in their order."""
        return [one for one, counts in zip(self.episodes, self.in_headline, strict=True) if counts]


def outcomes_by_seed(values: Sequence[bool], episodes: Sequence[EpisodeResult]) -> np.ndarray:
    """Arranges a value per episode by seed and pair, (S, N); the same pairs follow each other under every seed."""
    return np.array(values).reshape(-1, len(first_seed(episodes)))


def recorded_episodes(episodes: Sequence[EpisodeResult]) -> np.ndarray:
    """Numbers of the recorded episodes that the pairs come from, (N,)."""
    return np.array([one.episode for one in first_seed(episodes)])


def rate(values: Sequence[bool], episodes: Sequence[EpisodeResult]) -> Rate:
    """Counts a value per episode."""
    return Rate.of(outcomes_by_seed(values, episodes), recorded_episodes(episodes))


def first_seed(episodes: Sequence[EpisodeResult]) -> Sequence[EpisodeResult]:
    """Every pair once."""
    return [one for one in episodes if one.seed == episodes[0].seed]


def summarize(
    episodes: Sequence[EpisodeResult], protocol: EvalProtocol, plans: int, split: TimeSplit, seconds: float
) -> dict[str, Any]:
    """The fields of an EvalResult that follow from its episodes and from what they took."""
    unsolved = [one for one in episodes if not one.solved_at_start]
    every = GroupResult.of("all", episodes)
    without = GroupResult.of(NOT_SOLVED, unsolved) if unsolved else None
    # Where every start was a solution there is no other headline.
    chosen = unsolved if protocol.solved_starts == "exclude" and unsolved else episodes
    success = outcomes_by_seed([one.success for one in chosen], chosen)
    random = outcomes_by_seed([one.random_success for one in chosen], chosen)
    seeds = dict.fromkeys(one.seed for one in chosen)
    pairs = first_seed(episodes)
    groups = sorted({name for one in chosen for name in one.groups})
    iterations = sum(one.iterations for one in episodes)
    return {
        "overall": without if chosen is unsolved else every,
        "success_by_seed": dict(zip(seeds, success.mean(axis=1).tolist(), strict=True)),
        "above_random": Difference.of(success, random, recorded_episodes(chosen)),
        "all_pairs": every,
        "not_solved": without,
        "solved_at_start": rate([one.solved_at_start for one in pairs], pairs),
        "groups": tuple(GroupResult.of(name, [one for one in chosen if name in one.groups]) for name in groups),
        "plans": plans,
        "seconds_per_plan": split.planner / max(1, plans),
        "iterations_per_plan": iterations / max(1, plans) if protocol.planner else None,
        "flops_per_plan": sum(one.flops for one in episodes) / max(1, plans),
        "seconds_per_episode": seconds / len(episodes),
        "split": split,
        "episodes": tuple(episodes),
    }
