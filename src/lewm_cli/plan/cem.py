"""The cross-entropy method: draw, keep the elites, refit, repeat (paper appendix; stable_worldmodel's CEMSolver)."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from lewm_cli.config import PlannerConfig
from lewm_cli.plan.cost import LatentCost
from lewm_cli.plan.plan import Iteration, Plan
from lewm_cli.workers import available_cores


@dataclass(frozen=True)
class CEM:
    """Plans with the mean of the last elites, or the cheapest candidate; candidate 0 is the current mean; no clipping.

    On a CPU every environment is planned for by itself, one thread per core: its plan is then the same, bit for
    bit, whatever others are planned for at the same time. On an accelerator all are one batch.

    Args:
        config: candidates, elites, iterations, horizon, initial standard deviation, and which result is taken.
        remember: keep every iteration's candidates in the plan, for pictures; they take memory.
    """

    config: PlannerConfig
    remember: bool = False

    def solve(self, cost: LatentCost, block_dim: int, generators: list[torch.Generator]) -> Plan:
        """Find one plan per environment; see `Solver`."""
        begun, stopped = time.monotonic(), threading.Event()
        if cost.start.device.type == "cpu":
            with ThreadPoolExecutor(available_cores()) as pool:
                try:
                    found = [
                        pool.submit(self._solve, cost.of(number), block_dim, [generator], stopped)
                        for number, generator in enumerate(generators)
                    ]
                    plans = [one.result() for one in found]
                except BaseException:
                    stopped.set()  # the threads are waited for
                    raise
        else:
            plans = [self._solve(cost, block_dim, generators, stopped)]
        return Plan.join(plans, time.monotonic() - begun)

    @torch.inference_mode()
    def _solve(
        self, cost: LatentCost, block_dim: int, generators: list[torch.Generator], stopped: threading.Event
    ) -> Plan:
        begun = time.monotonic()
        config, device = self.config, cost.start.device
        shape = (config.candidates, config.horizon, block_dim)
        mean = torch.zeros(cost.environments, config.horizon, block_dim, device=device)
        std = torch.full_like(mean, config.std)
        elite_cost = torch.empty(0)
        least, found = torch.full((cost.environments, 1), torch.inf, device=device), mean
        history = []
        for _ in range(config.iterations):
            if stopped.is_set():
                break
            noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(device)
            candidates = noise.mul_(std.unsqueeze(1)).add_(mean.unsqueeze(1))
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
