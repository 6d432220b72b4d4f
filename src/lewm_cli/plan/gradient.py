"""Gradient descent: Adam through the model, from several starts side by side."""

import torch
from torch import Tensor

from lewm_cli.config import PlannerConfig
from lewm_cli.plan.gaussian import Gaussian
from lewm_cli.plan.problem import Problem
from lewm_cli.plan.search import Learned, Search, Tried, Turn

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Gradient(Search):
    """Plans with the cheapest sequence that any of the starts came past.

    It takes candidates, which are the starts, iterations, horizon, standard deviation of the starts, `step` of Adam.
    """

    def method(self, problem: Problem) -> "_Starts":
        """See `Search`."""
        return _Starts(self.config, problem)


class _Starts(Gaussian):
    """Sequences around where planning begins, which is the first, improved step by step."""

    def __init__(self, config: PlannerConfig, problem: Problem) -> None:
        super().__init__(config, problem, gradient=True)
        self._adam: Adam | None = None

    def propose(self, turn: Turn) -> Tensor:
        if self._adam is None:
            self._adam = Adam(super().propose(turn), self.config.step)
        return self._adam.sequences

    def learn(self, tried: Tried) -> Learned:
        return self._adam.learn(tried)


class Adam:
    """Sequences (E, S, horizon, block_dim) that follow their own gradients.

    Args:
        sequences: where they begin.
        step: size of a step, in standard deviations of actions.
    """

    def __init__(self, sequences: Tensor, step: float) -> None:
        self.sequences, self._step, self._steps = sequences, step, 0
        self._first, self._second = torch.zeros_like(sequences), torch.zeros_like(sequences)

    def learn(self, tried: Tried) -> Learned:
        """Take a step from what was tried, which may have been clipped."""
        self._steps += 1
        self._first = torch.lerp(tried.gradients, self._first, BETAS[0])
        self._second = torch.lerp(tried.gradients.square(), self._second, BETAS[1])
        first, second = (
            moment / (1 - beta**self._steps) for moment, beta in zip((self._first, self._second), BETAS, strict=True)
        )
        self.sequences = tried.candidates - self._step * first / (second.sqrt() + EPSILON)
        return Learned(tried.best, tried.least, tried.costs.argsort(dim=1))
