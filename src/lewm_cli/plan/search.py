"""What all solvers do: propose, ask what it costs, learn, and stop in time."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from lewm_cli.config import PlannerConfig
from lewm_cli.errors import LewmError
from lewm_cli.plan.budget import Budget, Effort
from lewm_cli.plan.plan import Iteration, Plan
from lewm_cli.plan.problem import Problem
from lewm_cli.plan.slope import cost_and_slope

PATIENCE = 3
"""Iterations in which the least cost must fall by more than the tolerance."""


@dataclass(frozen=True)
class Turn:
    """An iteration that is about to begin.

    Args:
        number: from 0 on.
        last: whether it is known to be the last.
        generators: one per environment.
        going: (E,) on the CPU, the environments whose plan is not found yet.
        device: where candidates are wanted.
    """

    number: int
    last: bool
    generators: list[torch.Generator]
    going: Tensor
    device: torch.device

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers (E, *shape), every environment's from its own generator, which rests if it may."""
        drawn = [
            torch.randn(shape, generator=generator) if going else torch.zeros(shape)
            for generator, going in zip(self.generators, self.going.tolist(), strict=True)
        ]
        return torch.stack(drawn).to(self.device)


@dataclass(frozen=True)
class Tried:
    """What candidates cost.

    Args:
        candidates: (E, S, horizon, block_dim), within the bounds.
        costs: (E, S), infinite where that is no number.
        gradients: (E, S, horizon, block_dim) of the costs, if the method asked for them.
        best: (E, horizon, block_dim), the cheapest of this and all earlier iterations.
        least: (E,), what that costs; infinite where no candidate has cost a number yet.
    """

    candidates: Tensor
    costs: Tensor
    gradients: Tensor | None
    best: Tensor
    least: Tensor

    def in_numbers(self) -> Self:
        """The same for methods to learn from: what costs no number is as dear as the dearest, and has no slope."""
        known = self.costs < torch.inf
        dearest = torch.where(known, self.costs, -torch.inf).amax(dim=1, keepdim=True).nan_to_num(neginf=0.0)
        gradients = self.gradients
        if gradients is not None:
            gradients = torch.where(known[:, :, None, None] & gradients.isfinite(), gradients, 0.0)
        return replace(self, costs=torch.where(known, self.costs, dearest), gradients=gradients)


@dataclass(frozen=True)
class Learned:
    """Where a method stands after an iteration.

    Args:
        mean: (E, horizon, block_dim), the plan if this was the last iteration and the best is not asked for.
        cost: (E,), what it stands for.
        elites: (E, K) numbers of the candidates that it learned from, cheapest first.
        kept: (E, K, horizon, block_dim), worth trying again in the next plan.
    """

    mean: Tensor
    cost: Tensor
    elites: Tensor
    kept: Tensor | None = None


class Method(Protocol):
    """How one solver proposes and learns, for all environments side by side, each by itself."""

    @property
    def efforts(self) -> Sequence[Effort]:
        """What every iteration will ask for."""
        ...

    def propose(self, turn: Turn) -> Tensor:
        """Candidates (E, S, horizon, block_dim) of an iteration."""
        ...

    def learn(self, tried: Tried) -> Learned:
        """Learn from what they cost."""
        ...


@dataclass(frozen=True)
class Search(ABC):
    """A solver that tries candidates, iteration by iteration.

    Args:
        config: what its method takes, which result is taken, and when to stop.
        remember: keep every iteration's candidates in the plan, for pictures; they take memory.
    """

    config: PlannerConfig
    remember: bool = False

    @abstractmethod
    def method(self, problem: Problem) -> Method:
        """How it proposes and learns."""

    @torch.inference_mode()
    def solve(self, problem: Problem) -> Plan:
        """Find one plan per environment; see `Solver`.

        Raises:
            LewmError: operations are limited, and nobody knows how many the model takes; or nothing that was tried for
                an environment costs a number.
        """
        begun = time.monotonic()
        config, method, cost = self.config, self.method(problem), problem.cost
        budget = Budget(config, problem.flops, method.efforts, begun)
        plans = best = problem.beginning(config.horizon)
        least = ended_at = torch.full((cost.environments,), torch.inf, device=cost.device)
        kept: Tensor | None = None
        going = torch.ones(cost.environments, dtype=torch.bool)
        iterations, spent = torch.zeros(cost.environments, dtype=torch.long), budget.beginning(cost.environments)
        leasts, history = [least], list[Iteration]()
        while going.any() and budget.allows_another():
            effort = budget.next
            turn = Turn(budget.made, budget.last, problem.generators, going, cost.device)
            candidates = method.propose(turn)
            if problem.bounds:
                candidates = problem.bounds.clip(candidates)
            costs, gradients = cost_and_slope(cost, candidates) if effort.gradient else (cost(candidates), None)
            open_ones = going.to(cost.device)
            costs = costs.nan_to_num(nan=torch.inf, neginf=torch.inf, posinf=torch.inf)
            cheapest, number = costs.topk(1, dim=1, largest=False)
            better = (cheapest[:, 0] < least) & open_ones
            best = torch.where(
                better[:, None, None], candidates.take_along_dim(number[:, :, None, None], 1)[:, 0], best
            )
            least = torch.where(better, cheapest[:, 0], least)
            tried = Tried(candidates, costs, gradients, best, least).in_numbers()
            learned = method.learn(tried)
            plans = torch.where(open_ones[:, None, None], learned.mean, plans)
            ended_at = torch.where(open_ones, learned.cost, ended_at)
            if learned.kept is not None:
                before = learned.kept if kept is None else kept
                kept = torch.where(open_ones[:, None, None, None], learned.kept, before)
            iterations += going
            spent[going] += budget.cost_of(effort)
            if self.remember:
                history.append(_remembered(candidates, tried.costs, learned.elites, going))
            leasts.append(least)
            if config.tolerance and len(leasts) > PATIENCE + 1:
                going = going & (least < (1 - config.tolerance) * leasts[-1 - PATIENCE]).cpu()
            budget.spend(costs)
        if not least.isfinite().all():
            raise LewmError(
                "no candidate costs a finite number: weights of the run or its head are damaged (lewm verify tells), "
                "or training diverged, or planner.std leads much too far out"
            )
        # Before the clock is read: the device may still compute.
        actions = (plans if config.result == "mean" else best).cpu()
        if problem.bounds:
            actions = problem.bounds.clip(actions)  # a mean of numbers within may be rounded to one without
        ended_cost = ended_at.cpu()
        seconds = time.monotonic() - begun
        flops = None if problem.flops is None else spent
        kept = None if kept is None else kept.cpu()
        return Plan(actions, ended_cost, seconds, iterations, flops, kept, tuple(history))


def _remembered(candidates: Tensor, costs: Tensor, elites: Tensor, going: Tensor) -> Iteration:
    tried = Iteration(candidates.cpu(), costs.cpu(), elites.cpu())
    if going.all():
        return tried
    blank = tried.blank(len(going))
    return Iteration(
        torch.where(going[:, None, None, None], tried.actions, blank.actions),
        torch.where(going[:, None], tried.cost, blank.cost),
        torch.where(going[:, None], tried.elites, blank.elites),
    )
