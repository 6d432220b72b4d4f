"""MPPI: every candidate has a say in the next mean, the cheaper the more (model predictive path integral control)."""

from lewm_cli.plan.gaussian import Gaussian
from lewm_cli.plan.problem import Problem
from lewm_cli.plan.search import Learned, Search, Tried


class MPPI(Search):
    """Plans with the weighted mean of the last candidates, or the cheapest of all; candidate 0 is the current mean.

    It takes candidates, iterations, horizon, standard deviation, `temperature`, and which result is taken.
    """

    def method(self, problem: Problem) -> "_Weighted":
        """See `Search`."""
        return _Weighted(self.config, problem)


class _Weighted(Gaussian):
    """Candidates of one standard deviation throughout, around their weighted mean."""

    def learn(self, tried: Tried) -> Learned:
        spread = tried.costs.std(dim=1, keepdim=True).clamp(min=1e-12)
        weights = (-tried.costs / (spread * self.config.temperature)).softmax(dim=1)
        self.mean = (weights[:, :, None, None] * tried.candidates).sum(dim=1)
        order = tried.costs.argsort(dim=1)
        return Learned(self.mean, (weights * tried.costs).sum(dim=1), order)
