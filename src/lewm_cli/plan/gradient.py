"""Gradient descent: Adam through the model, from several starts side by side."""

import torch
from torch import Tensor

from lewm_cli.plan.search import IterativeSolver, Search

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Gradient(IterativeSolver):
    """Plans with the cheapest sequence on the way of any of the starts; start 0 is the initial mean.

    It takes candidates, which are the starts, iterations, horizon, standard deviation of the starts, `step` of Adam.
    """

    def run(self, search: Search) -> None:
        """Descend from sequences around the initial mean."""
        starts = search.sample(self.config.candidates, search.mean, search.std)
        starts[:, 0] = search.mean
        descend(search, starts, self.config.iterations, self.config.step)


def descend(search: Search, sequences: Tensor, iterations: int, step: float) -> None:
    """Follow the gradients of sequences (E, S, horizon, block_dim) with Adam; its step is in deviations of actions."""
    first, second = torch.zeros_like(sequences), torch.zeros_like(sequences)
    for number in search.iterations(iterations, sequences.shape[1], gradient=True):
        evaluated, gradients = search.differentiate(sequences)
        first = torch.lerp(gradients, first, BETAS[0])
        second = torch.lerp(gradients.square(), second, BETAS[1])
        mean, square = first / (1 - BETAS[0] ** (number + 1)), second / (1 - BETAS[1] ** (number + 1))
        sequences = evaluated.candidates - step * mean / (square.sqrt() + EPSILON)
        search.update(search.best, search.best_cost, evaluated.costs.argsort(dim=1))
