"""MPPI: every candidate has a say in the next mean, the cheaper the more (model predictive path integral control)."""

from dataclasses import dataclass

from torch import Tensor

from lewm_cli.config import PlannerConfig
from lewm_cli.plan.budget import Effort
from lewm_cli.plan.plan import Plan
from lewm_cli.plan.problem import Problem
from lewm_cli.plan.search import Learned, Tried, Turn, search


@dataclass(frozen=True)
class MPPI:
    """Plans with the weighted mean of the last candidates, or the cheapest of all; candidate 0 is the current mean.

    Args:
        config: candidates, iterations, horizon, standard deviation, `temperature`, and which result is taken.
        remember: keep every iteration's candidates in the plan.
    """

    config: PlannerConfig
    remember: bool = False

    def solve(self, problem: Problem) -> Plan:
        """Find one plan per environment; see `Solver`."""
        return search(_Weighted(self.config, problem), problem, self.config, remember=self.remember)


class _Weighted:
    """Candidates of one standard deviation throughout, around their weighted mean."""

    def __init__(self, config: PlannerConfig, problem: Problem) -> None:
        self._config = config
        self.efforts = (Effort(config.candidates),) * config.iterations
        self._mean = problem.beginning(config.horizon)

    def propose(self, turn: Turn) -> Tensor:
        noise = turn.normal(self._config.candidates, *self._mean.shape[1:])
        candidates = noise * self._config.std + self._mean.unsqueeze(1)
        candidates[:, 0] = self._mean
        return candidates

    def learn(self, tried: Tried) -> Learned:
        spread = tried.costs.std(dim=1, keepdim=True).clamp(min=1e-12)
        weights = (-tried.costs / (spread * self._config.temperature)).softmax(dim=1)
        self._mean = (weights[:, :, None, None] * tried.candidates).sum(dim=1)
        order = tried.costs.argsort(dim=1)
        return Learned(self._mean, (weights * tried.costs).sum(dim=1), order)
