"""References beside a success rate: chance, no action, true dynamics and a true cost on the same pairs."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt

from lewm_cli.config import PlannerConfig, Section
from lewm_cli.statistics import Difference, Estimate, Rate


class Reference(Section):
    """Success of another way of acting on the pairs of an evaluation."""

    success: Rate
    """Over the pairs of the headline, like the next."""
    above_run: Difference
    """This minus the evaluated run."""
    reached: tuple[bool, ...]
    """True where the goal was reached, for every pair."""
    seconds: NonNegativeFloat
    """It took; 0 where it was known from the evaluation."""


class RankedPair(Section):
    """The first plan for a pair: the ranking of its candidates, and its distance from the goal."""

    number: NonNegativeInt
    """Number of the pair."""
    first: float | None
    """Spearman's correlation of the model's cost with the true distance over the candidates of the first iteration;
    None where all of them end equally far from the goal, or cost the same."""
    last: float | None
    """The same of the last iteration."""
    distance: float
    """From the goal at the end of the plan, in the task's units."""
    least: float
    """The least distance of the plan and of all these candidates."""

    @property
    def regret(self) -> float:
        """Distance by which the best that was tried would have come nearer."""
        return self.distance - self.least


class Ranking(Section):
    """Rank correlation of the model's cost with the true distance, over the pairs that were not solved at the start."""

    first: Estimate | None
    """Mean of `RankedPair.first` over the pairs that have it; None if none does."""
    last: Estimate | None
    regret: Estimate
    """In the task's units."""
    pairs: tuple[RankedPair, ...]

    @classmethod
    def of(cls, pairs: Sequence[RankedPair], episodes: np.ndarray) -> Self:
        """Summarize pairs that come from these recorded episodes (N,); N at least 1."""

        def mean(values: list[float | None]) -> Estimate | None:
            known = [k for k, value in enumerate(values) if value is not None]
            return Estimate.of_mean(np.array([values[k] for k in known]), episodes[known]) if known else None

        return cls(
            first=mean([one.first for one in pairs]),
            last=mean([one.last for one in pairs]),
            regret=Estimate.of_mean(np.array([one.regret for one in pairs]), episodes),
            pairs=tuple(pairs),
        )


class References(Section):
    """Baselines and ceilings on the pairs of an evaluation, and the differences that show what holds it back."""

    planner: PlannerConfig
    """The planner of the three that plan."""
    zero_action: Reference
    random: Reference
    model: Reference
    """The run itself with this planner, so that only the cost differs from the next two."""
    true_latent: Reference
    """The simulator in place of the model; the objective is asked of latents of the frames that it really shows."""
    true_state: Reference
    """The simulator in place of the model; states are compared."""
    dynamics: Difference
    """`true_latent` minus `model`: what the model's imagination costs."""
    cost: Difference
    """`true_state` minus `true_latent`: what it costs to measure distance in latent space."""
    ranking: Ranking | None
    """None if every start was a solution."""
