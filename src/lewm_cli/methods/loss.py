"""The result of a training objective."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Embedded:
    """A batch of clips in the latent space, in float32; gradients flow to the network that made it.

    Args:
        latents: (B, T, D)
        predicted: (B, T - 1, D) the predictions of all latents but the first.
        blocks: (B, T - 1, block_dim) normalized; the actions that lead from each latent to the next.
    """

    latents: Tensor
    predicted: Tensor
    blocks: Tensor


@dataclass(frozen=True)
class Term:
    """A scalar and how much it counts in the loss."""

    value: Tensor
    weight: float


@dataclass(frozen=True)
class Loss:
    """The loss of a batch.

    Args:
        total: scalar, to be minimized.
        parts: scalars that it is made of, before they are weighted, by name; `prediction` is one of a world model's.
        latents: (B, T, D) for monitoring; None for a policy, which has none.
        predicted: (B, T - 1, D) the predictions of all latents but the first, for monitoring; None without latents.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    latents: Tensor | None = None
    predicted: Tensor | None = None
