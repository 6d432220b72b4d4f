"""What a solver returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Iteration:
    """What a solver tried at once.

    Args:
        actions: (E, S, horizon, block_dim) normalized candidates, on the CPU.
        cost: (E, S) on the CPU.
    """

    actions: Tensor
    cost: Tensor


@dataclass(frozen=True)
class Plan:
    """One plan per environment.

    Args:
        actions: (E, horizon, block_dim) normalized action blocks, on the CPU.
        cost: (E,) on the CPU, mean latent cost of the elites of the last iteration.
        seconds: it took for all environments together.
        history: every iteration, if the solver was asked to remember.
    """

    actions: Tensor
    cost: Tensor
    seconds: float
    history: tuple[Iteration, ...] = ()

    def of(self, number: int) -> "Plan":
        """The plan for one of the environments; `seconds` stay those of all."""
        one = slice(number, number + 1)
        history = tuple(Iteration(tried.actions[one], tried.cost[one]) for tried in self.history)
        return Plan(self.actions[one], self.cost[one], self.seconds, history)

    @classmethod
    def join(cls, plans: Sequence[Self], seconds: float) -> Self:
        """Plans for different environments as one, which took `seconds` together."""
        if len(plans) == 1:
            return cls(plans[0].actions, plans[0].cost, seconds, plans[0].history)
        history = (
            Iteration(torch.cat([one.actions for one in tried]), torch.cat([one.cost for one in tried]))
            for tried in zip(*(plan.history for plan in plans), strict=True)
        )
        actions, cost = torch.cat([plan.actions for plan in plans]), torch.cat([plan.cost for plan in plans])
        return cls(actions, cost, seconds, tuple(history))
