"""Several evaluations of one run as one finding: over seeds of planning, and over how far goals lie ahead."""

from typing import Self

import numpy as np
from pydantic import PositiveInt

from lewm_cli.config import EvalProtocol, Section
from lewm_cli.evaluate.reference_result import References
from lewm_cli.evaluate.result import EpisodeResult, EvalResult
from lewm_cli.statistics import Difference, Rate
from lewm_cli.store import Measurement


class PooledGroup(Section):
    """Rates over a subset of pairs, all seeds together; see `GroupResult`."""

    name: str
    success: Rate
    random: Rate
    route_valid: Rate | None
    held: Rate
    first_hit: float | None
    final_distance: float

    @classmethod
    def of(cls, name: str, seeds: list[list[EpisodeResult]]) -> Self:
        """Pool the same pairs under every seed."""
        clusters = np.array([one.episode for one in seeds[0]])
        every = [one for episodes in seeds for one in episodes]
        hits = [one.first_hit for one in every if one.first_hit]

        def rate(outcomes: list[bool]) -> Rate:
            return Rate.of(np.array(outcomes).reshape(len(seeds), -1), clusters)

        judged = any(one.route_valid is not None for one in every)
        return cls(
            name=name,
            success=rate([one.success for one in every]),
            random=rate([one.random_success for one in every]),
            route_valid=rate([one.success and bool(one.route_valid) for one in every]) if judged else None,
            held=rate([bool(one.held) for one in every]),
            first_hit=float(np.median(hits)) if hits else None,
            final_distance=float(np.median([one.final_distance for one in every])),
        )


class SeriesPoint(Section):
    """One distance of goals, under every seed."""

    offset: PositiveInt
    budget: PositiveInt
    seeds: tuple[int, ...]
    """Of planning; the pairs are the same."""
    rates: tuple[float, ...]
    """Success of the headline, seed by seed."""
    overall: PooledGroup
    all_pairs: PooledGroup
    not_solved: PooledGroup | None
    above_random: Difference | None = None
    """Of the headline, pair by pair; None in results of earlier versions."""
    solved_at_start: Rate
    groups: tuple[PooledGroup, ...]
    held_out: bool
    references: References | None = None
    """None if none were asked for; they are of one seed."""
    results: tuple[str, ...]
    """Files beside this one, by seed."""

    @classmethod
    def of(cls, results: list[EvalResult], files: tuple[str, ...]) -> Self:
        """Pool the results of every seed."""
        first = results[0]
        counted = [one.counted() for one in results]
        unsolved = [[one for one in result.episodes if not one.solved_at_start] for result in results]

        def group(name: str) -> PooledGroup:
            return PooledGroup.of(name, [[one for one in each if name in one.groups] for each in counted])

        return cls(
            offset=first.protocol.offset,
            budget=first.protocol.budget,
            seeds=tuple(result.protocol.drawn_with for result in results),
            rates=tuple(result.overall.success.rate for result in results),
            overall=PooledGroup.of(first.overall.name, counted),
            all_pairs=PooledGroup.of(first.all_pairs.name, [list(result.episodes) for result in results]),
            not_solved=PooledGroup.of(first.not_solved.name, unsolved) if first.not_solved else None,
            above_random=Difference.of(
                np.array([[one.success for one in episodes] for episodes in counted]),
                np.array([[one.random_success for one in episodes] for episodes in counted]),
                np.array([one.episode for one in counted[0]]),
            ),
            solved_at_start=first.solved_at_start,
            groups=tuple(group(one.name) for one in first.groups),
            held_out=all(result.held_out for result in results),
            references=first.references,
            results=files,
        )


class EvalSeries(Measurement):
    """Evaluations by one protocol that differ in the seed of planning and in how far goals lie ahead."""

    protocol: EvalProtocol
    """Of the first of them."""
    points: tuple[SeriesPoint, ...]
