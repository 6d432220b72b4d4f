"""The networks of heads: small, on frozen latents; planning costs can be made of them."""

from typing import Self

import torch
from torch import Tensor, nn

HIDDEN = 256

LOG_STD = (-3.0, 0.5)
"""Limits of the logarithm of a prior's standard deviation: no search begins at a point, or wider than any action."""


class Standardized(nn.Module):
    """Standardizes latents by mean and standard deviation of those that the head was fitted to."""

    mean: Tensor
    std: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("std", torch.ones(latent))

    def fit(self, latents: Tensor) -> None:
        """Take mean and deviation of latents (N, D); a constant dimension becomes 0."""
        std = latents.std(dim=0, unbiased=False)
        self.mean, self.std = latents.mean(dim=0), torch.where(std > 0, std, torch.ones_like(std))

    def forward(self, latents: Tensor) -> Tensor:
        """(..., D) to the same."""
        return (latents - self.mean) / self.std


class ReachHead(nn.Module):
    """Predicts the number of model steps from one latent to another, as the mean over classes of distances.

    The last class is "farther than any episode goes".
    """

    steps: Tensor

    def __init__(self, latent: int, classes: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.scale = Standardized(latent)
        self.net = perceptron(2 * latent, hidden, classes)
        self.register_buffer("steps", torch.zeros(classes))

    def logits(self, latents: Tensor, goal: Tensor) -> Tensor:
        """Logits (..., classes) of the distance from latents (..., D) to goals (..., D)."""
        return self.net(torch.cat([self.scale(latents), self.scale(goal)], dim=-1))

    def forward(self, latents: Tensor, goal: Tensor) -> Tensor:
        """Model steps from latents (..., D) to goals (..., D), as (...)."""
        return (self.logits(latents, goal).softmax(dim=-1) * self.steps).sum(dim=-1)


class PriorHead(nn.Module):
    """Tells what recorded behavior would do next on the way to a goal: a Gaussian of the next action block."""

    def __init__(self, latent: int, block_dim: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.scale = Standardized(latent)
        self.net = perceptron(2 * latent, hidden, 2 * block_dim)

    def forward(self, latents: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (..., block_dim), normalized, for latents (..., D) and goals (..., D)."""
        mean, log_std = self.net(torch.cat([self.scale(latents), self.scale(goal)], dim=-1)).chunk(2, dim=-1)
        return mean, log_std.clamp(*LOG_STD).exp()


class PositionHead(nn.Module):
    """Reads positions, K numbers, off a latent."""

    offset: Tensor
    unit: Tensor

    def __init__(self, latent: int, positions: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.scale = Standardized(latent)
        self.net = perceptron(latent, hidden, positions)
        self.register_buffer("offset", torch.zeros(positions))
        self.register_buffer("unit", torch.ones(positions))

    @classmethod
    def of(cls, net: nn.Sequential, latents: Tensor, positions: Tensor) -> Self:
        """A head around a network that was fitted to z-scored latents (N, D) and positions (N, K)."""
        head = cls(latents.shape[1], positions.shape[1])
        head.net = net
        head.scale.fit(latents)
        head.offset, head.unit = positions.mean(dim=0), positions.std(dim=0, unbiased=False)
        return head

    def forward(self, latents: Tensor) -> Tensor:
        """Positions (..., K) of latents (..., D), in the unit of what was fitted."""
        return self.net(self.scale(latents)) * self.unit + self.offset


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two hidden layers with GELU."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, outputs)
    )
