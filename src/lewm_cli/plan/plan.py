"""What a solver returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Iteration:
    """What a solver tried at once; NaN, and elite 0, for environments whose plan was already found.

    Args:
        actions: (E, S, horizon, block_dim) normalized candidates, on the CPU.
        cost: (E, S) on the CPU; that of the dearest for candidates that cost no number.
        elites: (E, K) numbers of the candidates that it learned from, cheapest first, on the CPU.
    """

    actions: Tensor
    cost: Tensor
    elites: Tensor

    def of(self, number: int) -> Self:
        """What was tried for one of the environments."""
        one = slice(number, number + 1)
        return type(self)(self.actions[one], self.cost[one], self.elites[one])

    def blank(self, environments: int) -> Self:
        """As much, of which nothing was tried, for so many environments."""
        nothing = (environments, *([-1] * (self.actions.dim() - 1)))
        actions = torch.full_like(self.actions[:1], torch.nan).expand(nothing)
        cost = torch.full_like(self.cost[:1], torch.nan).expand(environments, -1)
        return type(self)(actions, cost, torch.zeros_like(self.elites[:1]).expand(environments, -1))


@dataclass(frozen=True)
class Guess:
    """What the plan before leaves to the next one for an environment.

    Args:
        mean: (horizon, block_dim) normalized, on the CPU: where to begin.
        kept: (K, horizon, block_dim) sequences worth trying again.
    """

    mean: Tensor
    kept: Tensor


@dataclass(frozen=True)
class Plan:
    """One plan per environment.

    Args:
        actions: (E, horizon, block_dim) normalized action blocks, on the CPU.
        cost: (E,) on the CPU, as the solver ended: of the last elites or of the best, on average.
        seconds: it took for all environments together.
        iterations: (E,) made for each, on the CPU.
        flops: (E,) operations of the plain rollout for each, float64 on the CPU; None where nobody told the model's.
        kept: (E, K, horizon, block_dim) on the CPU, what the solver would try again, if it does.
        history: every iteration, if the solver was asked to remember.
    """

    actions: Tensor
    cost: Tensor
    seconds: float
    iterations: Tensor
    flops: Tensor | None = None
    kept: Tensor | None = None
    history: tuple[Iteration, ...] = ()

    def of(self, number: int) -> "Plan":
        """The plan for one of the environments; `seconds` stay those of all."""
        one = slice(number, number + 1)
        return Plan(
            self.actions[one],
            self.cost[one],
            self.seconds,
            self.iterations[one],
            None if self.flops is None else self.flops[one],
            None if self.kept is None else self.kept[one],
            tuple(tried.of(number) for tried in self.history[: int(self.iterations[number])]),
        )

    def left(self, number: int, executed: int) -> Guess:
        """What is left of the plan for an environment after so many of its blocks; the mean action follows."""
        one = slice(number, number + 1)
        sequences = torch.cat([self.actions[one], *(() if self.kept is None else self.kept[one])])
        moved = torch.zeros_like(sequences)
        moved[:, : sequences.shape[1] - executed] = sequences[:, executed:]
        return Guess(moved[0], moved[1:])

    @classmethod
    def join(cls, plans: Sequence[Self], seconds: float) -> Self:
        """Plans for different environments as one, which took `seconds` together."""
        return cls(
            torch.cat([plan.actions for plan in plans]),
            torch.cat([plan.cost for plan in plans]),
            seconds,
            torch.cat([plan.iterations for plan in plans]),
            _joined([plan.flops for plan in plans]),
            _joined([plan.kept for plan in plans]),
            tuple(_beside(plans, tried) for tried in zip_longest(*(plan.history for plan in plans))),
        )


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    """All of them, or nothing if one is missing."""
    found = [part for part in parts if part is not None]
    return torch.cat(found) if len(found) == len(parts) else None


def _beside(plans: Sequence[Plan], tried: Sequence[Iteration | None]) -> Iteration:
    """The same iteration of several plans, of which some had come to an end."""
    like = next(one for one in tried if one is not None)
    found = [one or like.blank(len(plan.actions)) for plan, one in zip(plans, tried, strict=True)]
    return Iteration(
        torch.cat([one.actions for one in found]),
        torch.cat([one.cost for one in found]),
        torch.cat([one.elites for one in found]),
    )
