"""The cross-entropy method: draw, keep the elites, refit, repeat (paper appendix; stable_worldmodel's CEMSolver)."""

from lewm_cli.plan.gaussian import Gaussian
from lewm_cli.plan.problem import Problem
from lewm_cli.plan.search import Learned, Search, Tried


class CEM(Search):
    """Plans with the mean of the last elites, or the cheapest candidate; candidate 0 is the current mean.

    It takes candidates, elites, iterations, horizon, initial standard deviation, and which result is taken.
    """

    def method(self, problem: Problem) -> "Refit":
        """See `Search`."""
        return Refit(self.config, problem)


class Refit(Gaussian):
    """Candidates from a Gaussian that is fitted to the cheapest of the last ones."""

    def learn(self, tried: Tried) -> Learned:
        """Refit mean and standard deviation."""
        costs, cheapest = tried.costs.topk(self.config.elites, dim=1, largest=False)
        elites = tried.candidates.take_along_dim(cheapest[:, :, None, None], dim=1)
        self.mean, self.std = elites.mean(dim=1), elites.std(dim=1)
        return Learned(self.mean, costs.mean(dim=1), cheapest)
