"""The interface of a world model: what training, planning and the measurements call, whatever the method."""

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor, nn

from lewm_cli.config import NetworkConfig
from lewm_cli.model.rollout import rollout


class Imaginer(Protocol):
    """Rolls a model forward on its own predictions."""

    def __call__(self, emb: Tensor, blocks: Tensor) -> Tensor:
        """Context latents (N, H, D) and normalized action blocks (N, T, block_dim), T >= H, to latents (N, T + 1, D).

        The first H are the context, and one follows per action from the last context frame on.
        """
        ...


class WorldModel(nn.Module, ABC):
    """A network that embeds frames and actions and predicts the next latent.

    Args:
        config: sizes.
        block_dim: width of an action block, frameskip * action dimensions.
    """

    def __init__(self, config: NetworkConfig, block_dim: int) -> None:
        super().__init__()
        self.config: NetworkConfig = config
        self.block_dim = block_dim

    @property
    def history(self) -> int:
        """The most steps of context that `predict` takes."""
        return self.config.history

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return next(self.parameters()).dtype

    @abstractmethod
    def embed(self, pixels: Tensor) -> Tensor:
        """Normalized frames (B, T, 3, H, W) to latents (B, T, D)."""

    @abstractmethod
    def embed_actions(self, blocks: Tensor) -> Tensor:
        """Normalized action blocks (B, T, block_dim) to action embeddings (B, T, E)."""

    @abstractmethod
    def predict(self, emb: Tensor, act_emb: Tensor) -> Tensor:
        """Latents (B, T, D), T at most the history length, and action embeddings (B, T, E) to predictions (B, T, D).

        Position t holds the prediction of latent t + 1.
        """

    def imaginer(self, dtype: torch.dtype = torch.float32, history: int | None = None) -> Imaginer:
        """Returns the rollout that plans are imagined with; it can be differentiated with respect to its inputs.

        A model may return a faster one, which may keep to the weights as they are now.

        Args:
            dtype: of matrix products; latents are as precise as those that are given.
            history: steps that are looked back at, at most the model's history length, which it is if not given.
        """

        def imagine(emb: Tensor, blocks: Tensor) -> Tensor:
            with torch.autocast(emb.device.type, dtype, enabled=dtype != torch.float32):
                return rollout(self, emb, blocks, history).to(emb.dtype)

        return imagine

    def latent_cost(self, latents: Tensor, goal: Tensor) -> Tensor:
        """Squared distance (...) of the last of latents (..., T, D) to the goal (..., D): the paper's planning cost."""
        return (latents[..., -1, :] - goal).square().sum(dim=-1)
