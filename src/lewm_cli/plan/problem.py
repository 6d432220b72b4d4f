"""What a solver is asked."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from lewm_cli.model import PlanFlops
from lewm_cli.plan.cost import Cost
from lewm_cli.plan.plan import Guess


@dataclass(frozen=True)
class Bounds:
    """The actions there are.

    Args:
        low, high: (block_dim,) normalized, on the CPU.
    """

    low: Tensor
    high: Tensor

    def clip(self, sequences: Tensor) -> Tensor:
        """The nearest sequences (..., block_dim) of such actions."""
        return sequences.clamp(self.low.to(sequences.device), self.high.to(sequences.device))


@dataclass(frozen=True)
class Problem:
    """Plans to find, one per environment.

    Args:
        cost: of candidates, for E environments.
        block_dim: width of an action block.
        generators: E of them, on the CPU, so that what is drawn for one environment does not depend on the others.
        frameskip: actions in a block, one after the other.
        guesses: E of them, where to begin; None for an environment without one, or instead of all.
        bounds: that candidates are clipped to.
        flops: of the model, if somebody knows.
    """

    cost: Cost
    block_dim: int
    generators: list[torch.Generator]
    frameskip: int = 1
    guesses: list[Guess | None] | None = None
    bounds: Bounds | None = None
    flops: PlanFlops | None = None

    def of(self, number: int) -> Self:
        """The problem of one of the environments."""
        guesses = self.guesses and [self.guesses[number]]
        generators = [self.generators[number]]
        cost = self.cost.of(number)
        return type(self)(cost, self.block_dim, generators, self.frameskip, guesses, self.bounds, self.flops)

    def beginning(self, horizon: int) -> Tensor:
        """Sequences (E, horizon, block_dim) to draw around first: the guesses, or else the mean action."""
        mean = torch.zeros(self.cost.environments, horizon, self.block_dim)
        for number, guess in enumerate(self.guesses or ()):
            if guess is not None:
                mean[number] = guess.mean
        return mean.to(self.cost.device)
