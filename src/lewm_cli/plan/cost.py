"""What a sequence of action blocks costs, by imagining where it leads."""

from typing import Protocol

import torch
from torch import Tensor

from lewm_cli.model import WorldModel
from lewm_cli.plan.objective import LastLatent, Objective

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


class SmoothCost(Cost, Protocol):
    """A cost that solvers can descend."""

    def gradient(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Cost (E, S) of candidates, and how it changes with each of their numbers (E, S, horizon, block_dim)."""
        ...


class LatentCost:
    """What candidates cost by the latents that the model imagines of them, for a batch of environments.

    Args:
        model: in eval mode.
        start: (E, 1, D) latents of the frames now.
        goal: (E, D) latents of the goal frames.
        objective: judges the imagined latents; by the distance of the last one, the paper's, if not given.
    """

    def __init__(self, model: WorldModel, start: Tensor, goal: Tensor, objective: Objective | None = None) -> None:
        self.model, self.start, self.goal = model, start, goal
        self.objective = objective or LastLatent(model)

    @property
    def environments(self) -> int:
        """Number of environments E."""
        return len(self.start)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.start.device

    @torch.inference_mode()
    def __call__(self, candidates: Tensor) -> Tensor:
        """Cost of candidates (E, S, horizon, block_dim), normalized; (E, S), lower is better."""
        sequences = candidates.flatten(0, 1)
        owners = torch.arange(len(sequences), device=candidates.device) // candidates.shape[1]
        costs = [
            self._cost(*part)
            for part in zip(sequences.split(SEQUENCES_AT_ONCE), owners.split(SEQUENCES_AT_ONCE), strict=True)
        ]
        return torch.cat(costs).reshape(candidates.shape[:2])

    def gradient(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Cost (E, S) of candidates, and how it changes with each of their numbers (E, S, horizon, block_dim)."""
        with torch.inference_mode(mode=False), torch.enable_grad():
            # What was made for inference only cannot be differentiated through; copies can.
            lasting = LatentCost(self.model, self.start.clone(), self.goal.clone(), self.objective)
            sequences = candidates.flatten(0, 1).clone()
            owners = torch.arange(len(sequences), device=candidates.device) // candidates.shape[1]
            found = [
                lasting._slope(*part)
                for part in zip(sequences.split(SEQUENCES_AT_ONCE), owners.split(SEQUENCES_AT_ONCE), strict=True)
            ]
        costs, slopes = (torch.cat(parts) for parts in zip(*found, strict=True))
        return costs.reshape(candidates.shape[:2]), slopes.reshape(candidates.shape)

    def of(self, number: int) -> "LatentCost":
        """The cost for one of the environments."""
        one = slice(number, number + 1)
        return LatentCost(self.model, self.start[one], self.goal[one], self.objective)

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
        return torch.stack([self.objective(imagined[:, :end], self.goal) for end in steps], dim=1).cpu()

    def _slope(self, sequences: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
        sequences.requires_grad_()
        costs = self._cost(sequences, owners)
        (slope,) = torch.autograd.grad(costs.sum(), sequences)
        return costs.detach(), slope

    def _cost(self, sequences: Tensor, owners: Tensor) -> Tensor:
        imagined = self.model.imagine(self.start[owners], self.model.embed_actions(sequences))
        return self.objective(imagined, self.goal[owners])
