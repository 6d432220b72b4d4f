"""The interface of a world model: what training, planning and the measurements call, whatever the method."""

from abc import abstractmethod
from typing import Protocol

import torch
from torch import Tensor

from lewm_cli.config import WorldModelConfig
from lewm_cli.model.network import Network
from lewm_cli.model.rollout import rollout


class Imaginer(Protocol):
    """Rolls a model forward on its own predictions."""

    def __call__(self, emb: Tensor, blocks: Tensor) -> Tensor:
        """Context latents (N, H, D) and normalized action blocks (N, T, block_dim), T >= H, to latents (N, T + 1, D).

        The first H are the context, and one follows per action from the last context frame on.
        """
        ...


class WorldModel(Network):
    """A network that embeds frames and actions and predicts the next latent.

    Args:
        config: sizes.
        block_dim: width of an action block, frameskip * action dimensions.
    """

    def __init__(self, config: WorldModelConfig, block_dim: int) -> None:
        super().__init__(config, block_dim)
        self.config: WorldModelConfig = config

    @property
    def _sizes(self) -> str:
        return f"latent {self.config.latent_dim:,}, {super()._sizes}"

    @abstractmethod
    def embed(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        """Normalized frames (B, T, 3, H, W) to latents (B, T, D).

        Args:
            proprio: (B, T, P) normalized proprioception, for a model that takes it.
        """

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

    def sequences_at_once(self, steps: int, *, gradient: bool) -> int | None:
        """The most sequences of so many steps that memory should be asked to imagine together; None if any number.

        With a gradient, all that lies between the layers is kept for all steps.
        """
        return None

    @property
    def distance(self) -> str:
        """The planning cost in words."""
        return "squared latent distance"

    def latent_cost(self, latents: Tensor, goal: Tensor) -> Tensor:
        """Squared distance (...) of the last of latents (..., T, D) to the goal (..., D): the paper's planning cost."""
        return (latents[..., -1, :] - goal).square().sum(dim=-1)
