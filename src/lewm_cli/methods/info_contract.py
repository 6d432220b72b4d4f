"""The adapter to stable_worldmodel's solvers and policies, which pass `info` dictionaries to any model."""

from typing import Any

from torch import Tensor

from lewm_cli.model import WorldModel


class InfoContract(WorldModel):
    """A world model with stable_worldmodel's planning contract: `encode`, `rollout`, `criterion` and `get_cost`.

    `info` is its dictionary: read, extended and returned, as its solvers expect. Plan in eval mode: BatchNorm.
    """

    def encode(self, info: dict[str, Any]) -> dict[str, Any]:
        """Add `emb` (B, T, D) for `pixels` (B, T, 3, H, W), and `act_emb` (B, T, E) for `action` (B, T, block_dim).

        A model that takes proprioception finds it in `proprio` (B, T, P), normalized; see `get_cost` for the goal's.
        """
        info["emb"] = self._embedded(info["pixels"], info.get("proprio"))
        if "action" in info:
            info["act_emb"] = self.embed_actions(info["action"].to(self.dtype))
        return info

    def rollout(self, info: dict[str, Any], actions: Tensor) -> dict[str, Any]:
        """Add `predicted_emb` (B, S, T + 1, D) for S candidates (B, S, T, block_dim), T >= H, of every environment.

        They start at `pixels` (B, S, H, 3, h, w), the same H frames for all candidates of an environment; or at `emb`
        (B, S, H, D), which is kept for later calls. The first H actions are those at these frames.
        """
        environments, candidates = actions.shape[:2]
        if "emb" not in info:
            context = self._embedded(*(_of_first(info, name) for name in ("pixels", "proprio"))).detach()
            info["emb"] = context.unsqueeze(1).expand(-1, candidates, -1, -1)
        imagined = self.imaginer()(info["emb"].flatten(0, 1), actions.flatten(0, 1).to(self.dtype))
        info["predicted_emb"] = imagined.reshape(environments, candidates, *imagined.shape[1:])
        return info

    def criterion(self, info: dict[str, Any]) -> Tensor:
        """Cost (B, S) of `predicted_emb` (B, S, T, D) against the last of `goal_emb` (B, H, D)."""
        return self.latent_cost(info["predicted_emb"], info["goal_emb"][:, None, -1].detach())

    def get_cost(self, info: dict[str, Any], candidates: Tensor) -> Tensor:
        """Cost (B, S) of candidates (B, S, T, block_dim), normalized action blocks; lower is better.

        `pixels` and `goal` are both (B, S, H, 3, h, w), normalized, `proprio` and `goal_proprio` (B, S, H, P) where the
        model takes them; their latents are kept in `info` between calls.
        """
        if "goal_emb" not in info:
            info["goal_emb"] = self._embedded(*(_of_first(info, name) for name in ("goal", "goal_proprio")))
        return self.criterion(self.rollout(info, candidates))

    def _embedded(self, pixels: Tensor, proprio: Tensor | None) -> Tensor:
        return self.embed(pixels.to(self.dtype), None if proprio is None else proprio.to(self.dtype))


def _of_first(info: dict[str, Any], name: str) -> Any:
    """An entry of the first candidate, which is that of all; None if there is none."""
    return info[name][:, 0] if name in info else None
