"""What training, planning and the measurements ask of a world model, whatever its method."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


class Imaginer(Protocol):
    """Rolls a model forward on its own predictions."""

    def __call__(self, emb: Tensor, blocks: Tensor) -> Tensor:
        """Context latents (N, H, D) and normalized action blocks (N, T, block_dim), T >= H, to latents (N, T + 1, D).

        The first H are the context, and one follows per action from the last context frame on.
        """
        ...


@runtime_checkable
class WorldModel(Protocol):
    """A model that embeds frames and actions and imagines what comes next in latent space."""

    @property
    def history(self) -> int:
        """The most steps of context that `predict` takes."""
        ...

    def embed(self, pixels: Tensor) -> Tensor:
        """Normalized frames (B, T, 3, H, W) to latents (B, T, D)."""
        ...

    def embed_actions(self, blocks: Tensor) -> Tensor:
        """Normalized action blocks (B, T, frameskip * A) to action embeddings (B, T, E)."""
        ...

    def predict(self, emb: Tensor, act_emb: Tensor) -> Tensor:
        """Latents (B, T, D) and action embeddings (B, T, E) to the latents one step later (B, T, D)."""
        ...

    def imaginer(self, dtype: torch.dtype, history: int | None) -> Imaginer:
        """What imagines with the weights as they are now, in eval mode.

        Args:
            dtype: of matrix products; latents are as precise as those that are given.
            history: steps that are looked back at, if fewer than the model can.
        """
        ...

    def latent_cost(self, latents: Tensor, goal: Tensor) -> Tensor:
        """Imagined latents (..., T, D) and goal latents (..., D) to a cost (...), lower is nearer."""
        ...
