"""Random shooting: draw, and take the cheapest."""

from dataclasses import dataclass

from torch import Tensor

from lewm_cli.config import PlannerConfig
from lewm_cli.plan.budget import Effort
from lewm_cli.plan.plan import Plan
from lewm_cli.plan.problem import Problem
from lewm_cli.plan.search import Learned, Tried, Turn, search


@dataclass(frozen=True)
class RandomShooting:
    """Plans with the cheapest of all candidates, none of which depends on the others.

    Args:
        config: candidates per iteration, iterations, horizon, standard deviation.
        remember: keep every iteration's candidates in the plan.
    """

    config: PlannerConfig
    remember: bool = False

    def solve(self, problem: Problem) -> Plan:
        """Find one plan per environment; see `Solver`."""
        return search(_Shots(self.config, problem), problem, self.config, remember=self.remember)


class _Shots:
    """Candidates around where planning began, which is the very first."""

    def __init__(self, config: PlannerConfig, problem: Problem) -> None:
        self._config = config
        self.efforts = (Effort(config.candidates),) * config.iterations
        self._mean = problem.beginning(config.horizon)

    def propose(self, turn: Turn) -> Tensor:
        noise = turn.normal(self._config.candidates, *self._mean.shape[1:])
        candidates = noise * self._config.std + self._mean.unsqueeze(1)
        if turn.number == 0:
            candidates[:, 0] = self._mean
        return candidates

    def learn(self, tried: Tried) -> Learned:
        return Learned(tried.best, tried.least, tried.costs.argmin(dim=1, keepdim=True))
