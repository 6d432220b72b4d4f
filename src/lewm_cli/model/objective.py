"""The training objective of LeWorldModel: predict the next latent, and keep the latents Gaussian."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lewm_cli.config import ObjectiveConfig
from lewm_cli.model.sigreg import SIGReg
from lewm_cli.model.world_model import WorldModel


@dataclass(frozen=True)
class Losses:
    """The loss of a batch, scalar tensors: `total` is what is minimized; `latents` (B, T, D) are for monitoring."""

    total: Tensor
    prediction: Tensor
    sigreg: Tensor
    latents: Tensor


class Objective(nn.Module):
    """prediction + lambda * SIGReg; gradients flow through both sides of the prediction (paper section 3.2).

    Args:
        config: lambda, knots and number of directions.
        autocast: the lower precision for encoder and predictor, None for float32; SIGReg is float32 anyway.
    """

    def __init__(self, config: ObjectiveConfig, autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.weight = config.lambda_
        self.autocast = autocast
        self.sigreg = SIGReg(config.knots, config.projections)

    def forward(self, model: WorldModel, pixels: Tensor, blocks: Tensor) -> Losses:
        """The losses of a batch of clips.

        Args:
            model: the world model being trained.
            pixels: (B, T, 3, H, W) normalized frames, T the history length plus one.
            blocks: (B, T, block_dim) normalized action blocks; the last one has no effect.
        """
        with torch.autocast(pixels.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            latents = model.embed(pixels)
            predicted = model.predict(latents[:, :-1], model.embed_actions(blocks[:, :-1]))
        latents, predicted = latents.float(), predicted.float()
        prediction = F.mse_loss(predicted, latents[:, 1:])
        sigreg = self.sigreg(latents.transpose(0, 1))
        return Losses(prediction + self.weight * sigreg, prediction, sigreg, latents)
