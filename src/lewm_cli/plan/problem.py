"""The problem that a solver is given: candidates' cost, bounds, warm starts, random generators."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from lewm_cli.model import PlanFlops
from lewm_cli.plan.cost import Cost


@dataclass(frozen=True)
class Bounds:
    """The box of allowed actions.

    Args:
        low, high: (block_dim,) normalized, on the CPU.
    """

    low: Tensor
    high: Tensor

    def clip(self, sequences: Tensor) -> Tensor:
        """Clip sequences (..., block_dim) to the box."""
        return sequences.clamp(self.low.to(sequences.device), self.high.to(sequences.device))


@dataclass(frozen=True)
class WarmStart:
    """The rest of the plan before, from which the next plan of an environment starts.

    Args:
        mean: (horizon, block_dim) normalized, on the CPU.
        carried: (K, horizon, block_dim) elites of the plan before, tried again.
    """

    mean: Tensor
    carried: Tensor


@dataclass(frozen=True)
class Problem:
    """Plans to find, one per environment.

    Args:
        cost: of candidates, for E environments.
        block_dim: width of an action block.
        generators: E of them, on the CPU, so that what is drawn for one environment does not depend on the others.
        frameskip: actions in a block, one after the other.
        warm_starts: E of them; None for an environment without one, or instead of all.
        bounds: candidates are clipped to them.
        flops: operations that the model takes, if they are known.
    """

    cost: Cost
    block_dim: int
    generators: list[torch.Generator]
    frameskip: int = 1
    warm_starts: list[WarmStart | None] | None = None
    bounds: Bounds | None = None
    flops: PlanFlops | None = None

    def of(self, number: int) -> Self:
        """The problem of one of the environments."""
        warm_starts = self.warm_starts and [self.warm_starts[number]]
        generators = [self.generators[number]]
        cost = self.cost.of(number)
        return type(self)(cost, self.block_dim, generators, self.frameskip, warm_starts, self.bounds, self.flops)

    def initial_mean(self, horizon: int) -> Tensor:
        """The sequences (E, horizon, block_dim) to draw around first: warm starts, or else the mean action."""
        mean = torch.zeros(self.cost.environments, horizon, self.block_dim)
        for number, warm_start in enumerate(self.warm_starts or ()):
            if warm_start is not None:
                mean[number] = warm_start.mean
        return mean.to(self.cost.device)

    def carried_elites(self) -> list[Tensor]:
        """The elites (K, horizon, block_dim) that every warm start carries over, on the device of the cost."""
        none = torch.empty(0)
        warm_starts = self.warm_starts or [None] * self.cost.environments
        return [none if start is None else start.carried.to(self.cost.device) for start in warm_starts]
