"""Held-out clips measured during training: does it predict, and is the latent space still open."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from lewm_cli.model import LeWM, Objective

COLLAPSED_STD = 0.1
"""Mean standard deviation per dimension under which a latent space is called collapsed; healthy is near 1."""


SIGREG_BATCH = 64
"""Clips per SIGReg statistic."""


@dataclass(frozen=True)
class HeldOut:
    """What the held-out clips say, all dimensionless.

    Args:
        prediction: mean squared error of the predicted next latent.
        copying: the same for a predictor that repeats the last latent.
        sigreg: distance of the latents from a Gaussian; about 1 when they are one.
        std: mean over dimensions of the standard deviation over clips; SIGReg pulls it to 1.
        std_min: of the narrowest dimension.
        effective_rank: exponential of the entropy of the latents' normalized singular values.
        cosine: mean cosine between latents of different clips; near 0 when healthy, near 1 when collapsed.
    """

    prediction: float
    copying: float
    sigreg: float
    std: float
    std_min: float
    effective_rank: float
    cosine: float

    @classmethod
    def measure(cls, model: LeWM, objective: Objective, batches: Iterable[tuple[Tensor, Tensor]]) -> Self:
        """Measure a model in eval mode.

        Args:
            model: already recalibrated, see `recalibrated`.
            objective: for SIGReg; its directions are drawn apart from the training's.
            batches: (pixels (B, T, 3, H, W), blocks (B, T, block_dim)), normalized.
        """
        pairs = []
        with torch.inference_mode():
            for pixels, blocks in batches:
                latents = model.embed(pixels)
                predicted = model.predict(latents[:, :-1], model.embed_actions(blocks[:, :-1]))
                pairs.append((latents, predicted))
            latents, predicted = (torch.cat(parts).float() for parts in zip(*pairs, strict=True))
            generator = torch.Generator(latents.device).manual_seed(0)
            # In batches as in training: the statistic of a latent space that is not Gaussian grows with the batch.
            parts = [objective.sigreg(part.transpose(0, 1), generator) for part in latents.split(SIGREG_BATCH)]
            sigreg = torch.stack(parts).mean()
        first = latents[:, 0].cpu().double()
        std = first.std(dim=0)
        centered = first - first.mean(dim=0)
        # It raises where a number is not finite; `finite` says so below.
        singular = torch.linalg.svdvals(centered) if centered.isfinite().all() else centered.new_full((1,), math.nan)
        weights = singular / singular.sum().clamp_min(1e-30)
        units = F.normalize(first, dim=1)
        count = len(units)
        return cls(
            prediction=F.mse_loss(predicted, latents[:, 1:]).item(),
            copying=F.mse_loss(latents[:, :-1], latents[:, 1:]).item(),
            sigreg=sigreg.item(),
            std=std.mean().item(),
            std_min=std.min().item(),
            effective_rank=math.exp(torch.special.entr(weights).sum().item()),
            cosine=((units.sum(dim=0).square().sum() - count) / (count * (count - 1))).item(),
        )

    @property
    def finite(self) -> bool:
        """Whether every number is one."""
        return all(math.isfinite(value) for value in vars(self).values())

    @property
    def collapsed(self) -> bool:
        """Whether the latents have shrunk together. Effective rank does not show it: noise has full rank."""
        return self.std < COLLAPSED_STD
