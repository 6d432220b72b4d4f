"""The cross-entropy method: draw, keep the elites, refit, repeat (paper appendix; stable_worldmodel's CEMSolver)."""

from dataclasses import dataclass

from torch import Tensor

from lewm_cli.config import PlannerConfig
from lewm_cli.plan.budget import Effort
from lewm_cli.plan.plan import Plan
from lewm_cli.plan.problem import Problem
from lewm_cli.plan.search import Learned, Tried, Turn, search


@dataclass(frozen=True)
class CEM:
    """Plans with the mean of the last elites, or the cheapest candidate; candidate 0 is the current mean.

    Args:
        config: candidates, elites, iterations, horizon, initial standard deviation, and which result is taken.
        remember: keep every iteration's candidates in the plan, for pictures; they take memory.
    """

    config: PlannerConfig
    remember: bool = False

    def solve(self, problem: Problem) -> Plan:
        """Find one plan per environment; see `Solver`."""
        return search(Refit(self.config, problem), problem, self.config, remember=self.remember)


class Refit:
    """Candidates from a Gaussian that is fitted to the cheapest of the last ones."""

    def __init__(self, config: PlannerConfig, problem: Problem) -> None:
        self._config = config
        self.efforts = (Effort(config.candidates),) * config.iterations
        self.mean = problem.beginning(config.horizon)
        self._std = self.mean.new_full(self.mean.shape, config.std)

    def propose(self, turn: Turn) -> Tensor:
        """Draw around the mean, which is candidate 0."""
        candidates = self.around(turn.normal(self._config.candidates, *self.mean.shape[1:]))
        candidates[:, 0] = self.mean
        return candidates

    def around(self, noise: Tensor) -> Tensor:
        """Standard noise (E, S, horizon, block_dim) in the place and the width of the Gaussian."""
        return noise * self._std.unsqueeze(1) + self.mean.unsqueeze(1)

    def learn(self, tried: Tried) -> Learned:
        """Refit mean and standard deviation."""
        costs, cheapest = tried.costs.topk(self._config.elites, dim=1, largest=False)
        elites = tried.candidates.take_along_dim(cheapest[:, :, None, None], dim=1)
        self.mean, self._std = elites.mean(dim=1), elites.std(dim=1)
        return Learned(self.mean, costs.mean(dim=1), cheapest)
