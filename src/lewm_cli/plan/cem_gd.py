"""CEM-GD: the cross-entropy method, then gradient steps on the best that it found (arXiv 2112.07746)."""

import torch
from torch import Tensor

from lewm_cli.config import PlannerConfig
from lewm_cli.plan.budget import Effort
from lewm_cli.plan.cem import Refit
from lewm_cli.plan.gradient import Adam
from lewm_cli.plan.problem import Problem
from lewm_cli.plan.search import Learned, Search, Tried, Turn


class CEMGD(Search):
    """Plans with the cheapest sequence of all. A budget cuts the gradient steps first, for they come last.

    It takes what `CEM` takes; then `descents` of Adam with its `step` on the mean and the cheapest, `refined` together.
    """

    def method(self, problem: Problem) -> "_Refined":
        """See `Search`."""
        return _Refined(self.config, problem)


class _Refined:
    """Candidates of a Gaussian, and then those that follow their gradients."""

    def __init__(self, config: PlannerConfig, problem: Problem) -> None:
        self._config, self._refit = config, Refit(config, problem)
        self._adam: Adam | None = None
        self._cheapest = torch.empty(0)
        self.efforts = self._refit.efforts + (Effort(config.refined, gradient=True),) * config.descents

    def propose(self, turn: Turn) -> Tensor:
        if turn.number < self._config.iterations:
            return self._refit.propose(turn)
        if self._adam is None:
            starts = torch.cat([self._refit.mean.unsqueeze(1), self._cheapest], dim=1)
            self._adam = Adam(starts, self._config.step)
        return self._adam.sequences

    def learn(self, tried: Tried) -> Learned:
        if self._adam is not None:
            return self._adam.learn(tried)
        learned = self._refit.learn(tried)
        best = tried.costs.topk(self._config.refined - 1, dim=1, largest=False).indices
        self._cheapest = tried.candidates.take_along_dim(best[:, :, None, None], dim=1)
        return learned
