"""LeWorldModel: encoder, projectors, action encoder and predictor, and stable_worldmodel's planning contract."""

from typing import Any

import torch
from torch import Tensor, nn

from lewm_cli.config import ActionEncoderConfig, ModelConfig
from lewm_cli.model.affine import Affine
from lewm_cli.model.folded import Folded
from lewm_cli.model.predictor import Predictor
from lewm_cli.model.rollout import Rollout
from lewm_cli.model.vit import VisionTransformer


class Projector(nn.Module):
    """Linear, BatchNorm, GELU, Linear on single latents (N, input) to (N, output)."""

    def __init__(self, input_dim: int, hidden: int, output_dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(input_dim, hidden), nn.BatchNorm1d(hidden), nn.GELU(), nn.Linear(hidden, output_dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, input) to (B, T, output); the batch statistics are over all B * T."""
        output: Tensor = self.net(x.flatten(0, 1))
        return output.reshape(*x.shape[:2], -1)

    def folded(self) -> tuple[Affine, Affine]:
        """The products that it is in eval mode, with GELU between them."""
        first, norm, _, second = self.net
        return Affine.of(first).before_norm(norm), Affine.of(second)


class ActionEncoder(nn.Module):
    """An action block to an embedding: pointwise convolution, then an MLP with SiLU."""

    def __init__(self, config: ActionEncoderConfig, block_dim: int, latent: int) -> None:
        super().__init__()
        self.patch_embed = nn.Conv1d(block_dim, config.smoothed, kernel_size=1)
        self.embed = nn.Sequential(
            nn.Linear(config.smoothed, config.expansion * latent),
            nn.SiLU(),
            nn.Linear(config.expansion * latent, latent),
        )

    def forward(self, blocks: Tensor) -> Tensor:
        """(B, T, block) to (B, T, D)."""
        output: Tensor = self.embed(self.patch_embed(blocks.transpose(1, 2)).transpose(1, 2))
        return output

    def folded(self) -> tuple[Affine, Affine]:
        """The products that it is, with SiLU between them."""
        first, _, second = self.embed
        return Affine.of(first).after(Affine(self.patch_embed.weight[..., 0], self.patch_embed.bias)), Affine.of(second)


class LeWM(nn.Module):
    """A world model trained from pixels with next-latent prediction and SIGReg (arXiv 2603.19312).

    Args:
        config: sizes; the defaults are the released model.
        block_dim: width of an action block, frameskip * action dimensions.

    `embed`, `embed_actions`, `predict`, `imaginer` and `latent_cost` are the typed interface that this package
    uses. `encode`, `predict`, `rollout`, `criterion` and `get_cost` are stable_worldmodel's contract, with its
    `info` dictionaries, so that its solvers and policies accept this model. Plan in eval mode: BatchNorm.
    """

    def __init__(self, config: ModelConfig, block_dim: int) -> None:
        super().__init__()
        self.config = config
        self.block_dim = block_dim
        latent, hidden = config.latent, config.projector.hidden
        self.encoder = VisionTransformer(config.encoder, config.image_size)
        self.predictor = Predictor(config.predictor, latent, config.history)
        self.action_encoder = ActionEncoder(config.action_encoder, block_dim, latent)
        self.projector = Projector(config.encoder.width, hidden, latent)
        self.pred_proj = Projector(latent, hidden, latent)

    @property
    def history(self) -> int:
        """The most steps of context that the predictor takes."""
        return self.config.history

    def embed(self, pixels: Tensor) -> Tensor:
        """Normalized frames (B, T, 3, H, W) to latents (B, T, D)."""
        cls = self.encoder(pixels.flatten(0, 1))
        latents: Tensor = self.projector(cls.unflatten(0, pixels.shape[:2]))
        return latents

    def embed_actions(self, blocks: Tensor) -> Tensor:
        """Normalized action blocks (B, T, block_dim) to action embeddings (B, T, D)."""
        embeddings: Tensor = self.action_encoder(blocks)
        return embeddings

    def predict(self, emb: Tensor, act_emb: Tensor) -> Tensor:
        """Predict one step ahead at every position.

        Args:
            emb: (B, T, D) latents, T at most the history length.
            act_emb: (B, T, D) action embeddings.

        Returns:
            (B, T, D): position t holds the prediction of latent t + 1.
        """
        predicted: Tensor = self.pred_proj(self.predictor(emb, act_emb))
        return predicted

    def imaginer(self, dtype: torch.dtype = torch.float32, history: int | None = None) -> Rollout:
        """What rolls the predictor forward on its own predictions, with the weights as they are now.

        It can be differentiated with respect to its inputs.

        Args:
            dtype: of matrix products.
            history: steps that are looked back at, at most the model's history length, which it is if not given.
        """
        # What is made in inference mode could not be part of a gradient.
        with torch.inference_mode(False), torch.no_grad():
            actions, projector = self.action_encoder.folded(), self.pred_proj.folded()
            return Rollout(Folded(self.predictor, actions, projector, dtype, history))

    def latent_cost(self, latents: Tensor, goal: Tensor) -> Tensor:
        """Squared distance of the last imagined latent to the goal (the paper's planning cost).

        Args:
            latents: (..., T, D)
            goal: (..., D)

        Returns:
            (...)
        """
        return (latents[..., -1, :] - goal).square().sum(dim=-1)

    # stable_worldmodel's contract. `info` is its dictionary: read, extended and returned, as its solvers expect.

    def encode(self, info: dict[str, Any]) -> dict[str, Any]:
        """Add `emb` (B, T, D) for `pixels` (B, T, 3, H, W), and `act_emb` (B, T, D) for `action` (B, T, block_dim)."""
        info["emb"] = self.embed(info["pixels"].to(self._dtype))
        if "action" in info:
            info["act_emb"] = self.embed_actions(info["action"].to(self._dtype))
        return info

    def rollout(self, info: dict[str, Any], actions: Tensor) -> dict[str, Any]:
        """Imagine every candidate of every environment.

        Args:
            info: `pixels` (B, S, H, 3, h, w), the same H frames for all S candidates of an environment; or `emb`
                (B, S, H, D) from an earlier call.
            actions: (B, S, T, block_dim), T >= H.

        Returns:
            info with `emb`, and `predicted_emb` (B, S, T + 1, D).
        """
        environments, candidates = actions.shape[:2]
        if "emb" not in info:
            context = self.embed(info["pixels"][:, 0].to(self._dtype)).detach()
            info["emb"] = context.unsqueeze(1).expand(-1, candidates, -1, -1)
        imagined = self.imaginer()(info["emb"].flatten(0, 1), actions.flatten(0, 1).to(self._dtype))
        info["predicted_emb"] = imagined.reshape(environments, candidates, *imagined.shape[1:])
        return info

    def criterion(self, info: dict[str, Any]) -> Tensor:
        """Cost (B, S) of `predicted_emb` (B, S, T, D) against the last of `goal_emb` (B, H, D)."""
        return self.latent_cost(info["predicted_emb"], info["goal_emb"][:, None, -1].detach())

    def get_cost(self, info: dict[str, Any], candidates: Tensor) -> Tensor:
        """Cost of action candidates; the latents of start and goal are kept in `info` between calls.

        Args:
            info: `pixels` and `goal`, both (B, S, H, 3, h, w), normalized.
            candidates: (B, S, T, block_dim) normalized action blocks.

        Returns:
            (B, S), lower is better.
        """
        if "goal_emb" not in info:
            info["goal_emb"] = self.embed(info["goal"][:, 0].to(self._dtype))
        return self.criterion(self.rollout(info, candidates))

    @property
    def _dtype(self) -> torch.dtype:
        return self.predictor.pos_embedding.dtype
