"""The search that all solvers share: budget, bounds, tolerance, best candidate and history around their iterations."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lewm_cli.config import PlannerConfig
from lewm_cli.errors import LewmError
from lewm_cli.plan.budget import Budget
from lewm_cli.plan.cost import cost_and_gradient
from lewm_cli.plan.problem import Iteration, Plan, Problem
from lewm_cli.suggestion import command

PATIENCE = 3
"""Iterations in which the least cost must fall by more than the tolerance."""


class Solver(Protocol):
    """Finds one plan per environment, all environments in one batch."""

    def solve(self, problem: Problem) -> Plan:
        """Find plans of low cost."""


@dataclass(frozen=True)
class IterativeSolver(ABC):
    """A solver that evaluates candidates, iteration by iteration. It keeps no state: several threads may use it.

    Args:
        config: settings of the solver, the result that is taken, and when to stop.
        record: keep every iteration's candidates in the plan, for pictures; they take memory.
    """

    config: PlannerConfig
    record: bool = False

    @torch.inference_mode()
    def solve(self, problem: Problem) -> Plan:
        """Find one plan per environment; see `Solver`.

        Raises:
            LewmError: operations are limited, and those of the model are not known; or no candidate of an environment
                has a finite cost.
        """
        search = Search(self.config, problem, record=self.record)
        self.run(search)
        return search.plan()

    @abstractmethod
    def run(self, search: "Search") -> None:
        """Evaluate candidates and learn from them, for all environments side by side, until the search ends."""


@dataclass(frozen=True)
class Evaluated:
    """The candidates of one iteration with their costs.

    Args:
        candidates: (E, S, horizon, block_dim), within the bounds.
        costs: (E, S), finite: the highest cost of the row stands for one that is not.
    """

    candidates: Tensor
    costs: Tensor

    def cheapest(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """The elites: candidates (E, K, horizon, block_dim), their costs and numbers (E, K), cheapest first."""
        costs, numbers = self.costs.topk(count, dim=1, largest=False)
        return self.candidates.take_along_dim(numbers[:, :, None, None], dim=1), costs, numbers


class Search:
    """One search for plans. A solver asks it for random numbers and for costs, and reports every iteration.

    An environment whose cost no longer falls is left as it is while the others go on; it draws nothing more.

    Attributes:
        problem: to solve.
        mean: (E, horizon, block_dim) sequences that the solver has come to; at first the initial mean.
        best: (E, horizon, block_dim) cheapest candidates so far.
        best_cost: (E,) of them; infinite where no candidate had a finite cost yet.
        last: the iteration that has begun is known to be the last.
        evaluated: the latest candidates.
    """

    def __init__(self, config: PlannerConfig, problem: Problem, *, record: bool) -> None:
        self.problem, self._config, self._record = problem, config, record
        self._budget = Budget(config, problem)
        environments = problem.cost.environments
        self.mean = self.best = problem.initial_mean(config.horizon)
        self.best_cost = self._mean_cost = torch.full((environments,), torch.inf, device=problem.cost.device)
        self.last, self._ended, self._flops_each = False, False, 0
        self._active = torch.ones(environments, dtype=torch.bool)
        self._iterations = torch.zeros(environments, dtype=torch.long)
        self._flops = torch.full((environments,), float(self._budget.model.images), dtype=torch.float64)
        self._best_costs, self._history = [self.best_cost], list[Iteration]()
        self._carried: Tensor | None = None

    def iterations(self, count: int, candidates: int, *, gradient: bool = False) -> Iterator[int]:
        """Number at most so many iterations, while the budget lasts and costs still fall; the first is always made.

        Each of them evaluates so many candidates, with their gradients if those are asked for.
        """
        self._flops_each = self._budget.model.tried(candidates, gradient=gradient)
        for number in range(count):
            if self.problem.cancelled and self.problem.cancelled.is_set():
                raise CancelledError
            begun = len(self._best_costs) > 1
            if self._ended or (begun and not (self._active.any() and self._budget.allows(self._flops_each))):
                self._ended = True
                return
            self.last = number + 1 == count or not self._budget.allows(self._flops_each, iterations=2)
            yield number

    @property
    def std(self) -> Tensor:
        """Standard deviations (E, horizon, block_dim) to draw with first."""
        return self.problem.initial_std(self.mean, self._config.std)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers (E, *shape), each environment's from its own generator; zeros where it has ended."""
        drawn = [
            torch.randn(shape, generator=generator) if active else torch.zeros(shape)
            for generator, active in zip(self.problem.generators, self._active.tolist(), strict=True)
        ]
        return torch.stack(drawn).to(self.problem.cost.device)

    def sample(self, count: int, mean: Tensor, std: Tensor) -> Tensor:
        """Draw candidates (E, S, horizon, block_dim) around means, with standard deviations (E, horizon, block_dim)."""
        return self.normal(count, *mean.shape[1:]) * std.unsqueeze(1) + mean.unsqueeze(1)

    def evaluate(self, candidates: Tensor) -> Evaluated:
        """Clip candidates (E, S, horizon, block_dim) to the bounds, and compute their costs."""
        candidates = self._clip(candidates)
        return self._keep(candidates, self.problem.cost(candidates))

    def differentiate(self, candidates: Tensor) -> tuple[Evaluated, Tensor]:
        """Like `evaluate`, with the gradient of the costs (E, S, horizon, block_dim); zero where it is not finite."""
        candidates = self._clip(candidates)
        costs, gradients = cost_and_gradient(self.problem.cost, candidates)
        known = costs.isfinite()[:, :, None, None] & gradients.isfinite()
        return self._keep(candidates, costs), torch.where(known, gradients, 0.0)

    def update(self, mean: Tensor, cost: Tensor, elites: Tensor, carried: Tensor | None = None) -> None:
        """End an iteration.

        Args:
            mean: (E, horizon, block_dim), the plan if this was the last iteration and the best is not asked for.
            cost: (E,) that it stands for.
            elites: (E, K) numbers of the candidates that the solver learned from, cheapest first.
            carried: (E, K, horizon, block_dim) elites worth trying again in the next plan.
        """
        active = self._active.to(mean.device)
        self.mean = torch.where(active[:, None, None], mean, self.mean)
        self._mean_cost = torch.where(active, cost, self._mean_cost)
        if carried is not None:
            before = carried if self._carried is None else self._carried
            self._carried = torch.where(active[:, None, None, None], carried, before)
        self._iterations += self._active
        self._flops[self._active] += self._flops_each
        if self._record:
            self._history.append(Iteration(self.evaluated.candidates.cpu(), self.evaluated.costs.cpu(), elites.cpu()))
        self._best_costs.append(self.best_cost)
        if self._config.tolerance and len(self._best_costs) > PATIENCE + 1:
            before = self._best_costs[-1 - PATIENCE]
            self._active = self._active & (self.best_cost < (1 - self._config.tolerance) * before).cpu()
        self._budget.spend(self._flops_each, self.evaluated.costs)

    def plan(self) -> Plan:
        """The plans that were found.

        Raises:
            LewmError: no candidate of an environment has a finite cost.
        """
        if not self.best_cost.isfinite().all():
            raise LewmError(
                "no candidate costs a finite number: weights of the run or its head are damaged "
                f"(`{command('verify')}` tells), "
                "or training diverged, or planner.std leads much too far out"
            )
        # Before the clock is read: the device may still compute.
        actions = (self.mean if self._config.result == "mean" else self.best).cpu()
        actions = self._clip(actions)  # a mean of numbers within may be rounded to one without
        cost = self._mean_cost.cpu()
        return Plan(
            actions,
            cost,
            time.monotonic() - self._budget.begun,
            self._iterations,
            None if self.problem.flops is None else self._flops,
            None if self._carried is None else self._carried.cpu(),
            tuple(self._history),
        )

    def _clip(self, sequences: Tensor) -> Tensor:
        return self.problem.bounds.clip(sequences) if self.problem.bounds else sequences

    def _keep(self, candidates: Tensor, costs: Tensor) -> Evaluated:
        """Keep the best; replace costs that are not finite by the highest of the row."""
        costs = costs.nan_to_num(nan=torch.inf, neginf=torch.inf, posinf=torch.inf)
        cheapest, number = costs.topk(1, dim=1, largest=False)
        better = (cheapest[:, 0] < self.best_cost) & self._active.to(costs.device)
        chosen = candidates.take_along_dim(number[:, :, None, None], dim=1)[:, 0]
        self.best = torch.where(better[:, None, None], chosen, self.best)
        self.best_cost = torch.where(better, cheapest[:, 0], self.best_cost)
        known = costs < torch.inf
        highest = torch.where(known, costs, -torch.inf).amax(dim=1, keepdim=True).nan_to_num(neginf=0.0)
        self.evaluated = Evaluated(candidates, torch.where(known, costs, highest))
        return self.evaluated
