"""What an evaluation found, with everything needed to believe and repeat it."""

import time
from typing import Self

import numpy as np

from lewm_cli.config import EvalProtocol, Section
from lewm_cli.control import TimeSplit
from lewm_cli.data import Dataset
from lewm_cli.evaluate.difference import Difference
from lewm_cli.evaluate.redrawn import Redrawn
from lewm_cli.evaluate.reference_result import References
from lewm_cli.evaluate.statistics import Rate
from lewm_cli.store import Measurement, Run

NOT_SOLVED = "start not solved"
"""The headline where solved starts are left out of it."""


class EpisodeResult(Section):
    """One pair, planned for and, from the same start, acted on at random."""

    episode: int
    start_row: int
    goal_row: int
    groups: tuple[str, ...]
    solved_at_start: bool
    success: bool
    first_hit: int | None
    """Environment steps until the goal was first reached; 0 if the start was already there."""
    held: bool | None
    """Whether it was still reached at each of the next 3 steps; None if it never was."""
    final_distance: float
    route_valid: bool | None
    """Whether the path up to the first hit kept clear of walls; None where the task has none."""
    random_success: bool
    iterations: int | None = None
    """Of the solver, all plans together; None in results of earlier versions, like the next."""
    flops: float | None = None
    """Of the plain rollout, all plans together."""


class GroupResult(Section):
    """Rates over a subset of pairs; `route_valid` is success whose route kept clear of walls."""

    name: str
    success: Rate
    random: Rate
    route_valid: Rate | None
    held: Rate
    """Success that outlasted the next 3 steps."""
    first_hit: float | None
    """Environment steps, median of the pairs that succeeded without being solved at the start; None if none did."""
    final_distance: float
    """Median over all pairs of the distance when the episode ended, which is at the first hit."""

    @classmethod
    def of(cls, name: str, episodes: list[EpisodeResult]) -> Self:
        """Summarize the pairs of a group."""
        clusters = np.array([one.episode for one in episodes])
        judged = any(one.route_valid is not None for one in episodes)
        valid = np.array([one.success and bool(one.route_valid) for one in episodes])
        hits = [one.first_hit for one in episodes if one.first_hit]
        return cls(
            name=name,
            success=Rate.of(np.array([one.success for one in episodes]), clusters),
            random=Rate.of(np.array([one.random_success for one in episodes]), clusters),
            route_valid=Rate.of(valid, clusters) if judged else None,
            held=Rate.of(np.array([bool(one.held) for one in episodes]), clusters),
            first_hit=float(np.median(hits)) if hits else None,
            final_distance=float(np.median([one.final_distance for one in episodes])),
        )


class PairsOrigin(Section):
    """The manifest that pairs were read from, or written to."""

    file: str
    sha256: str
    protocol: str
    """By which they were drawn."""


class EvalResult(Measurement):
    """A success rate with its interval and its floor on the same pairs."""

    protocol: EvalProtocol
    manifest: PairsOrigin | None
    """None if the pairs were drawn and nowhere frozen."""
    overall: GroupResult
    """The headline: all pairs, or those not solved at the start if the protocol leaves the others out."""
    all_pairs: GroupResult
    not_solved: GroupResult | None
    """Pairs whose start was no solution; None if every start was."""
    above_random: Difference | None = None
    """Of the headline, pair by pair; None in results of earlier versions."""
    solved_at_start: Rate
    groups: tuple[GroupResult, ...]
    """Of the pairs of the headline."""
    plans: int
    seconds_per_plan: float
    iterations_per_plan: float | None = None
    """Of the solver, mean; None in results of earlier versions, like the next."""
    flops_per_plan: float | None = None
    """Of the plain rollout, mean."""
    seconds_per_episode: float | None = None
    """Of the whole evaluation, all pairs side by side; None in results of earlier versions, like the next three."""
    split: TimeSplit | None = None
    workers: int | None = None
    """Processes that simulated; 1 is the one that planned."""
    redrawn: Redrawn | None = None
    head_sha256: str | None = None
    """Of the file of the head that plans were judged by; None if the objective asks none."""
    references: References | None = None
    """None if none were asked for."""
    episodes: tuple[EpisodeResult, ...]

    @classmethod
    def summarizing(
        cls,
        run: Run,
        dataset: Dataset,
        episodes: list[EpisodeResult],
        protocol: EvalProtocol,
        *,
        held_out: bool,
        begun: float,
        plans: int,
        split: TimeSplit,
        workers: int,
        redrawn: Redrawn | None,
        head_sha256: str | None,
    ) -> Self:
        """What follows from the outcomes; see `Measurement.of` for the rest."""
        unsolved = [one for one in episodes if not one.solved_at_start]
        every = GroupResult.of("all", episodes)
        without = GroupResult.of(NOT_SOLVED, unsolved) if unsolved else None
        # Where every start was a solution there is no other headline.
        chosen = unsolved if protocol.solved_starts == "exclude" and unsolved else episodes
        return cls.of(
            run,
            dataset,
            held_out=held_out,
            begun=begun,
            protocol=protocol,
            manifest=None,
            overall=without if chosen is unsolved else every,
            all_pairs=every,
            not_solved=without,
            above_random=Difference.of(
                np.array([one.success for one in chosen]),
                np.array([one.random_success for one in chosen]),
                np.array([one.episode for one in chosen]),
            ),
            solved_at_start=Rate.of(
                np.array([one.solved_at_start for one in episodes]), np.array([one.episode for one in episodes])
            ),
            groups=summarize_groups(chosen),
            plans=plans,
            seconds_per_plan=split.planner / max(1, plans),
            iterations_per_plan=_per_plan([one.iterations for one in episodes], plans),
            flops_per_plan=_per_plan([one.flops for one in episodes], plans),
            seconds_per_episode=(time.monotonic() - begun) / len(episodes),
            split=split,
            workers=workers,
            redrawn=redrawn,
            head_sha256=head_sha256,
            episodes=tuple(episodes),
        )

    @property
    def in_headline(self) -> np.ndarray:
        """Whether each pair is one of the headline, (N,)."""
        every = self.overall.name != NOT_SOLVED
        return np.array([every or not one.solved_at_start for one in self.episodes])

    def counted(self) -> list[EpisodeResult]:
        """The pairs of the headline, in their order."""
        return [one for one, counts in zip(self.episodes, self.in_headline, strict=True) if counts]


def _per_plan(spent: list[int | None] | list[float | None], plans: int) -> float | None:
    """Mean over plans; None if an episode does not tell."""
    told = [one for one in spent if one is not None]
    return sum(told) / max(1, plans) if len(told) == len(spent) else None


def summarize_groups(episodes: list[EpisodeResult]) -> tuple[GroupResult, ...]:
    """Rates per named group, in the order in which groups first appear."""
    names = dict.fromkeys(name for one in episodes for name in one.groups)
    return tuple(GroupResult.of(name, [one for one in episodes if name in one.groups]) for name in sorted(names))
