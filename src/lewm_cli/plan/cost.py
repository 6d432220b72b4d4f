"""What a sequence of action blocks costs, by imagining where it leads."""

import copy
from typing import Protocol

import torch
from torch import Tensor

from lewm_cli.model import Imaginer, WorldModel
from lewm_cli.plan.objective import LastLatent, Objective


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
    """What candidates cost by the latents that the model imagines of them, for a batch of environments.

    It can be differentiated with respect to the candidates.

    Args:
        model: in eval mode, with the weights that it has now.
        start: (E, 1, D) latents of the frames now.
        goal: (E, D) latents of the goal frames.
        objective: judges the imagined latents; by the distance of the last one, the paper's, if not given.
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
        """Where the model computes."""
        return self.start.device

    def __call__(self, candidates: Tensor) -> Tensor:
        """Cost of candidates (E, S, horizon, block_dim), normalized; (E, S), lower is better."""
        sequences = candidates.flatten(0, 1)
        owners = torch.arange(len(sequences), device=candidates.device) // candidates.shape[1]
        imagined = self._imagine(self.start[owners], sequences)
        return self.objective(imagined, self.goal[owners]).reshape(candidates.shape[:2])

    def of(self, number: int) -> "LatentCost":
        """The cost for one of the environments."""
        one, its = copy.copy(self), slice(number, number + 1)
        one.start, one.goal = self.start[its], self.goal[its]
        return one

    @torch.inference_mode()
    def along(self, blocks: Tensor) -> Tensor:
        """Cost after every model step of one plan per environment.

        Args:
            blocks: (E, horizon, block_dim) normalized.

        Returns:
            (E, horizon + 1) on the CPU: that of the start itself, which is that of standing still, then one per step.
        """
        imagined = self._imagine(self.start, blocks.to(self.start.device))
        steps = range(1, imagined.shape[1] + 1)
        return torch.stack([self.objective(imagined[:, :end], self.goal) for end in steps], dim=1).cpu()
