"""Gradient descent: Adam through the model, from several starts side by side."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lewm_cli.config import PlannerConfig
from lewm_cli.plan.budget import Effort
from lewm_cli.plan.plan import Plan
from lewm_cli.plan.problem import Problem
from lewm_cli.plan.search import Learned, Tried, Turn, search

BETAS = (0.9, 0.999)
EPSILON = 1e-8


@dataclass(frozen=True)
class Gradient:
    """Plans with the cheapest sequence that any of the starts came past.

    Args:
        config: candidates, which are the starts, iterations, horizon, standard deviation of the starts, `step` of Adam.
        remember: keep every iteration's candidates in the plan.
    """

    config: PlannerConfig
    remember: bool = False

    def solve(self, problem: Problem) -> Plan:
        """Find one plan per environment; see `Solver`."""
        return search(_Starts(self.config, problem), problem, self.config, remember=self.remember)


class _Starts:
    """Sequences around where planning begins, which is the first, improved step by step."""

    def __init__(self, config: PlannerConfig, problem: Problem) -> None:
        self._config = config
        self.efforts = (Effort(config.candidates, gradient=True),) * config.iterations
        self._mean = problem.beginning(config.horizon)
        self._adam: Adam | None = None

    def propose(self, turn: Turn) -> Tensor:
        if self._adam is None:
            starts = turn.normal(self._config.candidates, *self._mean.shape[1:]) * self._config.std
            starts += self._mean.unsqueeze(1)
            starts[:, 0] = self._mean
            self._adam = Adam(starts, self._config.step)
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
