"""What an evaluation found, with everything needed to believe and repeat it."""

from typing import Self

import numpy as np

from lewm_cli.config import EvalProtocol, Section
from lewm_cli.evaluate.clock import TimeSplit
from lewm_cli.evaluate.redrawn import Redrawn
from lewm_cli.evaluate.statistics import Rate
from lewm_cli.store import Measurement


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
    final_distance: float
    route_valid: bool | None
    """Whether the path up to the first hit kept clear of walls; None where the task has none."""
    random_success: bool


class GroupResult(Section):
    """Rates over a subset of pairs; `route_valid` is success whose route kept clear of walls."""

    name: str
    success: Rate
    random: Rate
    route_valid: Rate | None

    @classmethod
    def of(cls, name: str, episodes: list[EpisodeResult]) -> Self:
        """Summarize the pairs of a group."""
        clusters = np.array([one.episode for one in episodes])
        judged = any(one.route_valid is not None for one in episodes)
        valid = np.array([one.success and bool(one.route_valid) for one in episodes])
        return cls(
            name=name,
            success=Rate.of(np.array([one.success for one in episodes]), clusters),
            random=Rate.of(np.array([one.random_success for one in episodes]), clusters),
            route_valid=Rate.of(valid, clusters) if judged else None,
        )


class EvalResult(Measurement):
    """A success rate with its interval and its floor on the same pairs."""

    protocol: EvalProtocol
    overall: GroupResult
    solved_at_start: Rate
    groups: tuple[GroupResult, ...]
    plans: int
    seconds_per_plan: float
    seconds_per_episode: float | None = None
    """Of the whole evaluation, all pairs side by side; None in results of earlier versions, like the next three."""
    split: TimeSplit | None = None
    workers: int | None = None
    """Processes that simulated; 1 is the one that planned."""
    redrawn: Redrawn | None = None
    episodes: tuple[EpisodeResult, ...]


def summarize_groups(episodes: list[EpisodeResult]) -> tuple[GroupResult, ...]:
    """Rates per named group, in the order in which groups first appear."""
    names = dict.fromkeys(name for one in episodes for name in one.groups)
    return tuple(GroupResult.of(name, [one for one in episodes if name in one.groups]) for name in sorted(names))
