"""What solvers draw that keep to a mean."""

from torch import Tensor

from lewm_cli.config import PlannerConfig
from lewm_cli.plan.budget import Effort
from lewm_cli.plan.problem import Problem
from lewm_cli.plan.search import Turn


class Gaussian:
    """Candidates around a mean, which is where planning begins, and candidate 0.

    Args:
        config: candidates, iterations, horizon, standard deviation.
        problem: what is to be found.
        gradient: whether it is asked how costs change with candidates as well.

    Attributes:
        mean, std: (E, horizon, block_dim).
        efforts: of every iteration.
    """

    def __init__(self, config: PlannerConfig, problem: Problem, *, gradient: bool = False) -> None:
        self.config = config
        self.efforts = (Effort(config.candidates, gradient),) * config.iterations
        self.mean = problem.beginning(config.horizon)
        self.std = self.mean.new_full(self.mean.shape, config.std)

    def propose(self, turn: Turn) -> Tensor:
        """Draw around the mean, and try that itself."""
        candidates = self.draw(turn)
        candidates[:, 0] = self.mean
        return candidates

    def draw(self, turn: Turn) -> Tensor:
        """Draw around the mean."""
        return self.around(turn.normal(self.config.candidates, *self.mean.shape[1:]))

    def around(self, noise: Tensor) -> Tensor:
        """Standard noise (E, S, horizon, block_dim) in the place and the width of the Gaussian."""
        return noise * self.std.unsqueeze(1) + self.mean.unsqueeze(1)
