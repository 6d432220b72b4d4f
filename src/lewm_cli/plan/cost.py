"""What a sequence of action blocks costs, by imagining where it leads."""

import torch
from torch import Tensor

from lewm_cli.model import WorldModel

SEQUENCES_AT_ONCE = 8192
"""Imagined together: bounds the memory whatever the number of environments."""


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

    @torch.inference_mode()
    def __call__(self, candidates: Tensor) -> Tensor:
        """Cost of candidates (E, S, horizon, block_dim), normalized; (E, S), lower is better."""
        per_environment = candidates.shape[1]
        chunk = max(1, SEQUENCES_AT_ONCE // per_environment)
        costs = []
        for first in range(0, len(candidates), chunk):
            actions = candidates[first : first + chunk]
            start = self.start[first : first + chunk].repeat_interleave(per_environment, dim=0)
            imagined = self.model.imagine(start, self.model.embed_actions(actions.flatten(0, 1)))
            goal = self.goal[first : first + chunk].repeat_interleave(per_environment, dim=0)
            costs.append(self.model.latent_cost(imagined, goal).reshape(len(actions), per_environment))
        return torch.cat(costs)
