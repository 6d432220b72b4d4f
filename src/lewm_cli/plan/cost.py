"""The cost of action sequences: the model imagines where they lead, and an objective rates the imagined latents."""

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lewm_cli.model import Imaginer, PositionHead, ReachHead, WorldModel

SEQUENCES_AT_ONCE = 256
"""Differentiated together: every step on the way to a cost is kept until its gradient is known."""


class Cost(Protocol):
    """The cost of candidates, for a batch of environments."""

    @property
    def environments(self) -> int:
        """Number of environments E."""

    @property
    def device(self) -> torch.device:
        """The device that candidates have to be on."""

    def __call__(self, candidates: Tensor) -> Tensor:
        """Cost of candidates (E, S, horizon, block_dim), normalized; (E, S), lower is better."""

    def of(self, number: int) -> "Cost":
        """The cost for one of the environments."""


class Objective(Protocol):
    """Rates imagined latents; differentiable."""

    def __call__(self, latents: Tensor, goal: Tensor) -> Tensor:
        """Cost (...) of imagined latents (..., T, D) for goals (..., D), lower is better.

        The first latent is that of the current frame, then comes one per model step; the first alone is standing still.
        """


class LatentCost:
    """The `Cost` of candidates by the latents that the model imagines; differentiable.

    Args:
        model: in eval mode, with the weights that it has now.
        start: (E, 1, D) latents of the current frames.
        goal: (E, D) latents of the goal frames.
        objective: rates the imagined latents; the paper's distance of the last one, if not given.
        imagine: of the model, if it was made before; with float32 products and the model's history if not given.
    """

    def __init__(
        self,
        model: WorldModel,
        start: Tensor,
        goal: Tensor,
        objective: Objective | None = None,
        imagine: Imaginer | None = None,
    ) -> None:
        self.model, self.start, self.goal = model, start, goal
        self.objective = objective or LastLatent(model)
        self._imagine = imagine or model.imaginer(torch.float32, None)

    @property
    def environments(self) -> int:
        """Number of environments E."""
        return len(self.start)

    @property
    def device(self) -> torch.device:
        """The device that the model computes on."""
        return self.start.device

    def __call__(self, candidates: Tensor) -> Tensor:
        """Cost (E, S) of candidates (E, S, horizon, block_dim): imagine where they lead, and rate that."""
        sequences = candidates.flatten(0, 1)
        owners = torch.arange(len(sequences), device=candidates.device) // candidates.shape[1]
        at_once = self.model.sequences_at_once(candidates.shape[2], gradient=candidates.requires_grad)
        if at_once is None or len(sequences) <= at_once:
            return self._rated(owners, sequences).reshape(candidates.shape[:2])
        parts = zip(owners.split(at_once), sequences.split(at_once), strict=True)  # type: ignore[no-untyped-call]
        # For a gradient each part is imagined again, so that what lies between the layers is there for one at a time.
        rate = partial(checkpoint, self._rated, use_reentrant=False) if candidates.requires_grad else self._rated
        return torch.cat([rate(*part) for part in parts]).reshape(candidates.shape[:2])

    def _rated(self, owners: Tensor, sequences: Tensor) -> Tensor:
        """Cost (N,) of sequences (N, horizon, block_dim) of the environments with these numbers (N,)."""
        return self.objective(self._imagine(self.start[owners], sequences), self.goal[owners])

    def of(self, number: int) -> "LatentCost":
        """The cost for one of the environments."""
        one = slice(number, number + 1)
        return LatentCost(self.model, self.start[one], self.goal[one], self.objective, self._imagine)

    @torch.inference_mode()
    def imagined(self, blocks: Tensor) -> Tensor:
        """Latents of the current frame, then after every model step of one plan per environment, (E, horizon + 1, D).

        Args:
            blocks: (E, horizon, block_dim) normalized.
        """
        return self._imagine(self.start, blocks.to(self.start.device))

    @torch.inference_mode()
    def along(self, blocks: Tensor) -> Tensor:
        """Cost of standing still, then after every model step of one plan per environment, (E, horizon + 1) on the CPU.

        Args:
            blocks: (E, horizon, block_dim) normalized.
        """
        imagined = self.imagined(blocks)
        steps = range(1, imagined.shape[1] + 1)
        return torch.stack([self.objective(imagined[:, :end], self.goal) for end in steps], dim=1).cpu()


def cost_and_gradient(cost: Cost, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Cost (E, S) of candidates (E, S, horizon, block_dim), and its gradient with respect to them."""
    costs, gradients = [], []
    with torch.inference_mode(mode=False), torch.enable_grad():
        for part in candidates.split(max(1, SEQUENCES_AT_ONCE // len(candidates)), dim=1):  # type: ignore[no-untyped-call]
            leaf = part.clone().requires_grad_()
            found = cost(leaf)
            gradients += torch.autograd.grad(found.sum(), leaf)
            costs.append(found.detach())
    return torch.cat(costs, dim=1), torch.cat(gradients, dim=1)


@dataclass(frozen=True)
class LastLatent:
    """The paper's objective: distance of the last latent from the goal, as the model defines it."""

    model: WorldModel

    def __call__(self, latents: Tensor, goal: Tensor) -> Tensor:
        return self.model.latent_cost(latents, goal)


@dataclass(frozen=True)
class WholePath:
    """Mean distance over all imagined steps, so that arriving early counts."""

    model: WorldModel

    def __call__(self, latents: Tensor, goal: Tensor) -> Tensor:
        steps = latents[..., 1:, :] if latents.shape[-2] > 1 else latents
        return self.model.latent_cost(steps.unsqueeze(-2), goal.unsqueeze(-2)).mean(dim=-1)


@dataclass(frozen=True)
class ProbedPosition:
    """Squared distance between the positions read from the last latent and from the goal, in the position's unit."""

    head: PositionHead

    def __call__(self, latents: Tensor, goal: Tensor) -> Tensor:
        apart: Tensor = self.head(latents[..., -1, :]) - self.head(goal)
        return apart.square().sum(dim=-1)


@dataclass(frozen=True)
class Reachability:
    """Number of model steps from the last latent to the goal, as a head predicts it."""

    head: ReachHead

    def __call__(self, latents: Tensor, goal: Tensor) -> Tensor:
        steps: Tensor = self.head(latents[..., -1, :], goal)
        return steps
