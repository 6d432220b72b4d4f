"""The network of LeWorldModel (arXiv 2603.19312), which other objectives train as well."""

import copy
from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor, nn

from lewm_cli.accelerate import fast_rollout
from lewm_cli.config import ModelConfig
from lewm_cli.methods.info_contract import InfoContract
from lewm_cli.model import ActionEncoder, Batch, Imaginer, Predictor, Projector, VisionTransformer


class JEPA(InfoContract):
    """A joint-embedding predictive architecture: frames to latents, latents and actions to the next latents.

    Args:
        config: sizes; the defaults are the released model.
        block_dim: width of an action block, frameskip * action dimensions.
    """

    def __init__(self, config: ModelConfig, block_dim: int) -> None:
        super().__init__(config, block_dim)
        self.config: ModelConfig = config
        latent, hidden = config.latent, config.projector.hidden
        self.encoder = VisionTransformer(config.encoder, config.image_size)
        self.predictor = Predictor(config.predictor, latent, config.history)
        self.action_encoder = ActionEncoder(config.action_encoder, block_dim, latent)
        self.projector = Projector(config.encoder.width, hidden, latent)
        self.pred_proj = Projector(latent, hidden, latent)

    def embed(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        """Normalized frames (B, T, 3, H, W) to latents (B, T, D)."""
        cls = self.encoder(pixels.flatten(0, 1))
        return self.projector(cls.unflatten(0, pixels.shape[:2]))

    def embed_actions(self, blocks: Tensor) -> Tensor:
        """Normalized action blocks (B, T, block_dim) to action embeddings (B, T, D)."""
        return self.action_encoder(blocks)

    def predict(self, emb: Tensor, act_emb: Tensor) -> Tensor:
        """Latents and action embeddings (B, T, D) to the latents one step later (B, T, D)."""
        return self.pred_proj(self.predictor(emb, act_emb))

    def imaginer(self, dtype: torch.dtype = torch.float32, history: int | None = None) -> Imaginer:
        """The plain rollout on `predict`, with folded weights; see `WorldModel.imaginer`."""
        return fast_rollout(self.predictor, self.action_encoder, self.pred_proj, dtype, history)

    def published(self, batches: Iterable[Batch]) -> Self:
        """A copy in eval mode whose BatchNorm statistics fit its present weights.

        Running statistics trail the weights while the learning rate is high, which can inflate held-out losses a
        hundredfold. Here they are averaged anew over some training batches, dropout off.
        """
        fresh = copy.deepcopy(self).eval()
        norms = [module for module in fresh.modules() if isinstance(module, nn.BatchNorm1d)]
        for norm in norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # a plain average over the batches
        with torch.inference_mode():
            for batch in batches:
                latents = fresh.embed(batch.pixels)
                fresh.predict(latents[:, :-1], fresh.embed_actions(batch.blocks[:, :-1]))
        for norm in norms:
            norm.momentum = 0.1
        return fresh.eval()
