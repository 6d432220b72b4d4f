"""The result of an evaluation without a simulator: prediction, ranking and retrieval on recorded episodes."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from lewm_cli.config import Section
from lewm_cli.plural import counted
from lewm_cli.statistics import BreakEven, Difference, Estimate, Rate
from lewm_cli.store import Measurement

Drawn = Literal["recorded", "normal"]
DRAWN: tuple[Drawn, ...] = ("recorded", "normal")
"""Random action sequences: those of other recorded episodes, and those that a planner draws first."""

CHANCE = 0.5
"""The percentile of what is ranked by nothing but chance."""

FIVE = 5
"""Frames among which the true goal is looked for, beside the nearest one alone."""


SURE = 5
"""Episodes from which on something can be shown: of fewer, all may lie on one side by chance, of 4 in 1 of 16 cases,
and the bootstrap calls that certain."""


class PredictionErrors(Section):
    """Open-loop errors 1 to S model steps ahead: mean squared differences to the latents of the recorded frames."""

    copying: tuple[float, ...]
    """Of the last latent seen in place of a prediction: the unit of all others."""
    share: tuple[Estimate, ...]
    """Of the imagined latent, as a share of copying."""
    mean: tuple[float, ...]
    """Of the mean latent of all starts, as a share of copying."""
    untrained: tuple[float, ...]
    """Of an untrained network in its own latent space, as a share of its own copying."""
    break_even: BreakEven
    """The first step at which imagining errs no less than copying."""
    break_even_mean: BreakEven
    """The first step at which imagining errs no less than the mean latent."""

    @property
    def shown(self) -> int:
        """Model steps over which imagining is shown to err less than both, from the low ends of the intervals."""
        ends = (self.break_even.low, self.break_even_mean.low)
        return min(len(self.share) if end is None else end - 1 for end in ends)


class ActionRanking(Section):
    """The place of the recorded actions among random ones, by the cost that planning would give them."""

    horizon: PositiveInt
    """Model steps to the goal."""
    drawn: Drawn
    percentile: Estimate
    """Share of the random ones that cost more than the recorded one, ties half; 0.5 is chance."""
    first: Rate
    """Starts at which the recorded one is the cheapest of all."""
    untrained: float
    """The percentile by an untrained network, on the same starts and candidates."""
    above_untrained: Estimate
    """Percentile minus that of the untrained network, start by start."""
    percentiles: tuple[float, ...] = Field(repr=False)
    """Of every start."""

    @property
    def shown(self) -> bool:
        """True if the ranking is shown to be above chance, and above that of an untrained network."""
        return self.percentile.low > CHANCE and self.above_untrained.low > 0


class Retrieved(Section):
    """The true goal's place among recorded frames, by their distance from a latent."""

    nearest: Rate
    """Starts at which the true goal is the nearest frame."""
    among_five: Rate
    """Starts at which it is among the five nearest."""
    median_rank: float


class GoalRetrieval(Section):
    """Recorded frames by their distance from the latent that is imagined with the recorded actions."""

    horizon: PositiveInt
    """Model steps to the goal."""
    frames: PositiveInt
    """All starts and all goals but the start itself; by chance every one is as likely."""
    model: Retrieved
    copying: Retrieved
    """By the latent of the start in place of the imagined one."""
    untrained: Retrieved
    above_copying: Difference
    """Nearest, minus that of copying."""
    ranks: tuple[float, ...] = Field(repr=False)
    """Of every start, by the model; 1 is the nearest, ties half."""

    @property
    def shown(self) -> bool:
        """True if the goal is shown to be found more often than by chance, and than by standing still."""
        return self.above_copying.shown and self.model.nearest.low > 1 / self.frames


class OfflineResult(Measurement):
    """An evaluation without a simulator."""

    seed: int
    frameskip: PositiveInt
    history: PositiveInt
    """Recorded frames that imagining begins with; planning, and so ranking, begins with one."""
    seconds_per_row: PositiveFloat | None
    """Of an environment step; None where the recording does not say how fast it is."""
    horizon: PositiveInt
    """Model steps to the farther goal."""
    candidates: PositiveInt
    """Random sequences that each recorded one is ranked among."""
    std: PositiveFloat
    rows: tuple[int, ...] = Field(repr=False)
    """Of every start, in the recording."""
    episodes: tuple[int, ...] = Field(repr=False)
    """Of every start."""
    errors: PredictionErrors | None
    """None for a policy, which imagines nothing."""
    rankings: tuple[ActionRanking, ...]
    retrievals: tuple[GoalRetrieval, ...]
    """Empty for a policy."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """The few fields that a notebook shows, and the verdict."""
        yield from super().__repr_args__()
        yield "verdict", self.verdict

    @property
    def clips(self) -> tuple[str, tuple[int, ...], int, int]:
        """Identifies what it was measured on; results of the same clips can be paired."""
        return self.dataset.fingerprint, self.rows, self.frameskip, self.horizon

    @property
    def ranking(self) -> ActionRanking:
        """The one that says most: at the planner's horizon, among recorded sequences of other episodes."""
        return next(one for one in reversed(self.rankings) if one.drawn == "recorded")

    @property
    def verdict(self) -> str:
        """Says in one line whether the model is any good, and what was NOT shown."""
        return "; ".join([*self._predicts(), self._ranks(), *self._finds(), *self._doubts()])

    @property
    def _sure(self) -> bool:
        return len(set(self.episodes)) >= SURE

    def _doubts(self) -> Iterator[str]:
        if not self._sure:
            measured = counted(len(set(self.episodes)), "episode")
            yield f"was measured on {measured} only, and intervals over fewer than {SURE} show nothing"

    def _predicts(self) -> Iterator[str]:
        if self.errors is None:
            return
        shown, measured = self.errors.shown if self._sure else 0, len(self.errors.share)
        rows = shown * self.frameskip
        time = f"{rows} rows" if self.seconds_per_row is None else f"{rows * self.seconds_per_row:.2g} s"
        if not shown:
            yield "NOT shown to predict better than standing still"
        elif shown == measured:
            yield f"predicts better than standing still over all {measured} steps measured ({time})"
        else:
            yield f"predicts better than standing still up to {shown} of {measured} steps ({time})"

    def _ranks(self) -> str:
        one = self.ranking
        low, value, high = (100 * end for end in (one.percentile.low, one.percentile.value, one.percentile.high))
        if one.shown and self._sure:
            return f"ranks the recorded actions at percentile {value:.0f} of random ones (chance 50)"
        beside = f"percentile {value:.0f} [{low:.0f}, {high:.0f}], chance 50, untrained {100 * one.untrained:.0f}"
        return f"NOT shown to rank the recorded actions above random ones ({beside})"

    def _finds(self) -> Iterator[str]:
        for one in self.retrievals[-1:]:
            floors = f"chance {1 / one.frames:.1%}, standing still {one.copying.nearest.rate:.1%}"
            if one.shown and self._sure:
                yield f"finds the true goal among {one.frames} frames in {one.model.nearest.rate:.0%} ({floors})"
            else:
                found = f"{one.model.nearest}, {floors}"
                yield f"NOT shown to find the true goal among {one.frames} frames better than standing still ({found})"
