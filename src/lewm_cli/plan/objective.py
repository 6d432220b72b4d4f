"""What imagined latents cost: the paper's distance of the last one, or what else a plan may be judged by."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from lewm_cli.model import PositionHead, ReachHead, WorldModel


class Objective(Protocol):
    """Tells what imagined latents cost, so that gradients can be followed through it."""

    def __call__(self, latents: Tensor, goal: Tensor) -> Tensor:
        """Cost of imagined latents, lower is better.

        Args:
            latents: (..., T, D) the latent now, then one per model step; the one alone is standing still.
            goal: (..., D)

        Returns:
            (...)
        """
        ...


@dataclass(frozen=True)
class LastLatent:
    """The paper's: how far the last latent is from the goal.

    Args:
        model: says how far; squared distance, for LeWM.
    """

    model: WorldModel

    def __call__(self, latents: Tensor, goal: Tensor) -> Tensor:
        """See `Objective`."""
        return self.model.latent_cost(latents, goal)


@dataclass(frozen=True)
class WholePath:
    """Mean distance over all imagined steps, so that arriving early counts.

    Args:
        model: says how far; squared distance, for LeWM.
    """

    model: WorldModel

    def __call__(self, latents: Tensor, goal: Tensor) -> Tensor:
        """See `Objective`."""
        steps = latents[..., 1:, :] if latents.shape[-2] > 1 else latents
        return self.model.latent_cost(steps.unsqueeze(-2), goal.unsqueeze(-2)).mean(dim=-1)


@dataclass(frozen=True)
class ProbedPosition:
    """Squared distance between the positions read from the last latent and from the goal, in the position's unit.

    Args:
        head: reads positions.
    """

    head: PositionHead

    def __call__(self, latents: Tensor, goal: Tensor) -> Tensor:
        """See `Objective`."""
        return (self.head(latents[..., -1, :]) - self.head(goal)).square().sum(dim=-1)


@dataclass(frozen=True)
class Reachability:
    """How many model steps the goal lies from the last latent.

    Args:
        head: tells how many.
    """

    head: ReachHead

    def __call__(self, latents: Tensor, goal: Tensor) -> Tensor:
        """See `Objective`."""
        steps: Tensor = self.head(latents[..., -1, :], goal)
        return steps
