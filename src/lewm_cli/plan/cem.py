"""The cross-entropy method: draw, keep the elites, refit, repeat (paper appendix; stable_worldmodel's CEMSolver)."""

import time
from dataclasses import dataclass

import torch

from lewm_cli.config import PlannerConfig
from lewm_cli.plan.plan import Iteration, Plan
from lewm_cli.plan.problem import Problem


@dataclass(frozen=True)
class CEM:
    """Plans with the mean of the last elites, or the cheapest candidate; candidate 0 is the current mean; no clipping.

    Args:
        config: candidates, elites, iterations, horizon, initial standard deviation, and which result is taken.
        remember: keep every iteration's candidates in the plan, for pictures; they take memory.
    """

    config: PlannerConfig
    remember: bool = False

    @torch.inference_mode()
    def solve(self, problem: Problem) -> Plan:
        """Find one plan per environment; see `Solver`."""
        begun = time.monotonic()
        config, cost, device = self.config, problem.cost, problem.cost.device
        shape = (config.candidates, config.horizon, problem.block_dim)
        mean = torch.zeros(cost.environments, config.horizon, problem.block_dim, device=device)
        std = torch.full_like(mean, config.std)
        elite_cost = torch.empty(0)
        least, found = torch.full((cost.environments, 1), torch.inf, device=device), mean
        history = []
        for _ in range(config.iterations):
            noise = torch.stack([torch.randn(shape, generator=generator) for generator in problem.generators]).to(
                device
            )
            candidates = noise * std.unsqueeze(1) + mean.unsqueeze(1)
            candidates[:, 0] = mean
            costs = cost(candidates)
            if self.remember:
                history.append(Iteration(candidates.cpu(), costs.cpu()))
            elite_cost, best = costs.topk(config.elites, dim=1, largest=False)
            elites = candidates.take_along_dim(best[:, :, None, None], dim=1)
            mean, std = elites.mean(dim=1), elites.std(dim=1)
            found = torch.where((elite_cost[:, :1] < least).unsqueeze(2), elites[:, 0], found)
            least = torch.minimum(least, elite_cost[:, :1])
        # Before the clock is read: the device may still compute.
        actions = (mean if config.result == "mean" else found).cpu()
        mean_cost = elite_cost.mean(dim=1).cpu()
        return Plan(actions, mean_cost, time.monotonic() - begun, tuple(history))
