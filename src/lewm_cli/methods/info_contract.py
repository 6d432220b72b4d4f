"""The adapter to stable_worldmodel's solvers and policies, which pass `info` dictionaries to any model."""

from typing import Any

from torch import Tensor

from lewm_cli.model import WorldModel


class InfoContract(WorldModel):
    """A world model with stable_worldmodel's planning contract: `encode`, `rollout`, `criterion` and `get_cost`.

    `info` is its dictionary: read, extended and returned, as its solvers expect. Plan in eval mode: BatchNorm.
    """

    def encode(self, info: dict[str, Any]) -> dict[str, Any]:
        """Add `emb` (B, T, D) for `pixels` (B, T, 3, H, W), and `act_emb` (B, T, E) for `action` (B, T, block_dim)."""
        info["emb"] = self.embed(info["pixels"].to(self.dtype))
        if "action" in info:
            info["act_emb"] = self.embed_actions(info["action"].to(self.dtype))
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
            context = self.embed(info["pixels"][:, 0].to(self.dtype)).detach()
            info["emb"] = context.unsqueeze(1).expand(-1, candidates, -1, -1)
        imagined = self.imaginer()(info["emb"].flatten(0, 1), actions.flatten(0, 1).to(self.dtype))
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
            info["goal_emb"] = self.embed(info["goal"][:, 0].to(self.dtype))
        return self.criterion(self.rollout(info, candidates))
