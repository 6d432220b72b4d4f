"""What a sequence of action blocks costs, by imagining where it leads."""

from typing import Protocol

import torch
from torch import Tensor

from lewm_cli.model import WorldModel

SEQUENCES_AT_ONCE = 1024
"""Imagined together: bounds the memory whatever the number of environments."""


class Cost(Protocol):
    """Tells for a batch of environments what candidates cost."""

    @property
    def environments(self) -> int:
        """Number of environments E."""
        ...

    @property
    def device(self) -> torch.device:
        """Where candidates are wanted."""
        ...

    def __call__(self, candidates: Tensor) -> Tensor:
        """Cost of candidates (E, S, horizon, block_dim), normalized; (E, S), lower is better."""
        ...

    def of(self, number: int) -> "Cost":
        """The cost for one of the environments."""
        ...


class LatentCost:
    """Distance in latent space between where candidates lead and the goal, for a batch of environments.

    Args:
        model: in eval mode.
        start: (E, 1, D) latents of the frames now.
        goal: (E, D) latents of the goal frames.
    """

    def __init__(self, model: WorldModel, start: Tensor, goal: Tensor) -> None:
        self.model, self.start, self.goal = model, start, goal

    @property
    def environments(self) -> int:
        """Number of environments E."""
        return len(self.start)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.start.device

    def __call__(self, candidates: Tensor) -> Tensor:
        """Cost of candidates (E, S, horizon, block_dim), normalized; (E, S), lower is better."""
        sequences = candidates.flatten(0, 1)
        owners = torch.arange(len(sequences), device=candidates.device) // candidates.shape[1]
        with torch.inference_mode(mode=not candidates.requires_grad):
            costs = [
                self._cost(*part)
                for part in zip(sequences.split(SEQUENCES_AT_ONCE), owners.split(SEQUENCES_AT_ONCE), strict=True)
            ]
        return torch.cat(costs).reshape(candidates.shape[:2])

    def of(self, number: int) -> "LatentCost":
        """The cost for one of the environments."""
        one = slice(number, number + 1)
        return LatentCost(self.model, self.start[one], self.goal[one])

    @torch.inference_mode()
    def along(self, blocks: Tensor) -> Tensor:
        """Cost after every model step of one plan per environment.

        Args:
            blocks: (E, horizon, block_dim) normalized.

        Returns:
            (E, horizon + 1) on the CPU: that of the start itself, which is that of standing still, then one per step.
        """
        imagined = self.model.imagine(self.start, self.model.embed_actions(blocks.to(self.start.device)))
        steps = range(1, imagined.shape[1] + 1)
        return torch.stack([self.model.latent_cost(imagined[:, :end], self.goal) for end in steps], dim=1).cpu()

    def _cost(self, sequences: Tensor, owners: Tensor) -> Tensor:
        imagined = self.model.imagine(self.start[owners], self.model.embed_actions(sequences))
        return self.model.latent_cost(imagined, self.goal[owners])
