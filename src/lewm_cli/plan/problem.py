"""A planning problem, and the plans that solve it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Event
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
class Prior:
    """The distribution of action sequences that the search for one environment begins with.

    Args:
        mean, std: (horizon, block_dim) normalized, on the CPU.
    """

    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class Problem:
    """Plans to find, one per environment.

    Args:
        cost: of candidates, for E environments.
        block_dim: width of an action block.
        generators: E of them, on the CPU, so that what is drawn for one environment does not depend on the others.
        frameskip: actions in a block, one after the other.
        warm_starts: E of them, None for an environment without one; or none at all.
        priors: E of them, or none at all: the standard normal distribution is begun with.
        recorded: E of them, or none at all: recorded sequences (S, horizon, block_dim) that may be tried, normalized.
        bounds: candidates are clipped to them.
        flops: operations that the model takes, if they are known.
        spent: seconds that went by for this problem before the search for its plans.
        cancelled: set by another thread when the plans are not wanted anymore.
    """

    cost: Cost
    block_dim: int
    generators: list[torch.Generator]
    frameskip: int = 1
    warm_starts: Sequence[WarmStart | None] = ()
    priors: Sequence[Prior] = ()
    recorded: Sequence[Tensor] = ()
    bounds: Bounds | None = None
    flops: PlanFlops | None = None
    spent: float = 0.0
    cancelled: Event | None = None

    def of(self, number: int) -> Self:
        """The problem of one of the environments, with its share of the time spent."""
        one = slice(number, number + 1)
        return replace(
            self,
            cost=self.cost.of(number),
            generators=self.generators[one],
            warm_starts=self.warm_starts[one],
            priors=self.priors[one],
            recorded=self.recorded[one],
            spent=self.spent / self.cost.environments,
        )

    def initial_mean(self, horizon: int) -> Tensor:
        """The sequences (E, horizon, block_dim) to draw around first: warm starts, priors, or else the mean action."""
        mean = torch.zeros(self.cost.environments, horizon, self.block_dim)
        for number, prior in enumerate(self.priors):
            mean[number] = prior.mean
        for number, warm_start in enumerate(self.warm_starts):
            if warm_start is not None:
                mean[number] = warm_start.mean
        return mean.to(self.cost.device)

    def initial_std(self, mean: Tensor, std: float) -> Tensor:
        """The standard deviations to draw with first around sequences: `std`, times those of the priors if any."""
        if not self.priors:
            return torch.full_like(mean, std)
        return std * torch.stack([prior.std for prior in self.priors]).to(mean.device)

    def carried_elites(self) -> list[Tensor]:
        """The elites (K, horizon, block_dim) that every warm start carries over, on the device of the cost."""
        none = torch.empty(0)
        return [none if start is None else start.carried.to(self.cost.device) for start in self.warm_starts]


@dataclass(frozen=True)
class Iteration:
    """The candidates of one iteration; they mean nothing for environments whose search had already ended.

    Args:
        actions: (E, S, horizon, block_dim) normalized candidates, on the CPU.
        cost: (E, S) on the CPU; the highest cost of the row for candidates without a finite one.
        elites: (E, K) numbers of the candidates that the solver learned from, cheapest first, on the CPU.
    """

    actions: Tensor
    cost: Tensor
    elites: Tensor

    def of(self, number: int) -> Self:
        """The candidates for one of the environments."""
        one = slice(number, number + 1)
        return type(self)(self.actions[one], self.cost[one], self.elites[one])

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Join iterations of different environments."""
        return cls(
            torch.cat([one.actions for one in parts]),
            torch.cat([one.cost for one in parts]),
            torch.cat([one.elites for one in parts]),
        )


@dataclass(frozen=True)
class Plan:
    """One plan per environment.

    Args:
        actions: (E, horizon, block_dim) normalized action blocks, on the CPU.
        cost: (E,) on the CPU, as the solver ended: of the last elites or of the best, on average.
        seconds: spent on all environments together.
        iterations: (E,) made for each, on the CPU.
        flops: (E,) operations of the plain rollout for each, float64 on the CPU; None where they are not known.
        carried: (E, K, horizon, block_dim) elites on the CPU that the next plan may try again, if the solver has any.
        history: every iteration, if the solver records them.
    """

    actions: Tensor
    cost: Tensor
    seconds: float
    iterations: Tensor
    flops: Tensor | None = None
    carried: Tensor | None = None
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
            None if self.carried is None else self.carried[one],
            tuple(iteration.of(number) for iteration in self.history[: int(self.iterations[number])]),
        )

    def warm_start(self, number: int, executed: int) -> WarmStart:
        """Shift the plan of an environment by the blocks that were executed; the mean action follows."""
        one = slice(number, number + 1)
        sequences = torch.cat([self.actions[one], *(() if self.carried is None else self.carried[one])])
        shifted = torch.zeros_like(sequences)
        shifted[:, : sequences.shape[1] - executed] = sequences[:, executed:]
        return WarmStart(shifted[0], shifted[1:])

    @classmethod
    def join(cls, plans: Sequence[Self], seconds: float) -> Self:
        """Join plans of different environments, which took `seconds` together."""
        longest = max((plan.history for plan in plans), key=len)
        return cls(
            torch.cat([plan.actions for plan in plans]),
            torch.cat([plan.cost for plan in plans]),
            seconds,
            torch.cat([plan.iterations for plan in plans]),
            _joined([plan.flops for plan in plans]),
            _joined([plan.carried for plan in plans]),
            # The longest fills in for those that ended early, so that all are of one shape.
            tuple(
                Iteration.join([(plan.history[number:] or longest[number:])[0] for plan in plans])
                for number in range(len(longest))
            ),
        )


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    """All parts as one; None if one of them is missing."""
    found = [part for part in parts if part is not None]
    return torch.cat(found) if len(found) == len(parts) else None
