"""Random shooting: draw, and take the cheapest."""

from torch import Tensor

from lewm_cli.plan.gaussian import Gaussian
from lewm_cli.plan.problem import Problem
from lewm_cli.plan.search import Learned, Search, Tried, Turn


class RandomShooting(Search):
    """Plans with the cheapest of all candidates, none of which depends on the others.

    It takes candidates per iteration, iterations, horizon, standard deviation.
    """

    def method(self, problem: Problem) -> "_Shots":
        """See `Search`."""
        return _Shots(self.config, problem)


class _Shots(Gaussian):
    """Candidates around where planning began, which is the very first."""

    def propose(self, turn: Turn) -> Tensor:
        return super().propose(turn) if turn.number == 0 else self.draw(turn)

    def learn(self, tried: Tried) -> Learned:
        return Learned(tried.best, tried.least, tried.costs.argmin(dim=1, keepdim=True))
