"""The measurement of held-out clips during training: its predictions, and the spread of the latent space."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lewm_cli.methods import Objective
from lewm_cli.model import Batch, Network

COLLAPSED_STD = 0.1
COLLAPSED_SHARE = 0.5
"""A latent space is called collapsed if its standard deviation per dimension is smaller than the first, and if what is
predicted is hardly better than the last latent repeated: than this share of that error. SIGReg and variance terms keep
the deviation near 1; where actions are decoded it may be any, and a small space is as good as a large one."""


@dataclass(frozen=True)
class HeldOut:
    """Losses and spread of the latents on held-out clips, all dimensionless.

    Args:
        prediction: mean squared error of the predicted next latent.
        copying: the same for a predictor that repeats the last latent.
        parts: the other parts of the loss by name, means over batches.
        std: mean over dimensions of the standard deviation over clips; near 0 when collapsed.
        std_min: of the narrowest dimension.
        effective_rank: exponential of the entropy of the latents' normalized singular values.
        cosine: mean cosine between latents of different clips; near 0 when healthy, near 1 when collapsed.
    """

    prediction: float
    copying: float
    parts: dict[str, float]
    std: float
    std_min: float
    effective_rank: float
    cosine: float

    @classmethod
    def measure(
        cls, objective: Objective, model: Network, heads: nn.ModuleDict, batches: Iterable[Batch]
    ) -> tuple[Self, Tensor]:
        """Measure a model as it is published; its loss draws other random numbers than training does.

        Batches are always of the same size: regularizers may depend on it. A last one of a single clip is left out: it
        has no variance.

        Returns:
            the measurement, and the latents (N, D) of the first frames of all clips, in their order.
        """
        generator = torch.Generator(model.device).manual_seed(0)
        with torch.inference_mode():
            losses = [objective.loss(model, heads, batch, generator) for batch in batches if len(batch.blocks) > 1]
            latents = torch.cat([loss.latents for loss in losses])
            predicted = torch.cat([loss.predicted for loss in losses])
            names = (name for name in losses[0].parts if name != "prediction")
            parts = {name: torch.stack([loss.parts[name] for loss in losses]).mean().item() for name in names}
        first = latents[:, 0].cpu().double()
        std = first.std(dim=0)
        centered = first - first.mean(dim=0)
        # It raises where a number is not finite; `finite` says so below.
        singular = torch.linalg.svdvals(centered) if centered.isfinite().all() else centered.new_full((1,), math.nan)
        weights = singular / singular.sum().clamp_min(1e-30)
        units = F.normalize(first, dim=1)
        count = len(units)
        measured = cls(
            prediction=F.mse_loss(predicted, latents[:, 1:]).item(),
            copying=F.mse_loss(latents[:, :-1], latents[:, 1:]).item(),
            parts=parts,
            std=std.mean().item(),
            std_min=std.min().item(),
            effective_rank=math.exp(torch.special.entr(weights).sum().item()),
            cosine=((units.sum(dim=0).square().sum() - count) / (count * (count - 1))).item(),
        )
        return measured, first

    @property
    def finite(self) -> bool:
        """True if no number is NaN or infinite."""
        numbers = vars(self) | self.parts
        return all(math.isfinite(value) for name, value in numbers.items() if name != "parts")

    @property
    def collapsed(self) -> bool:
        """True if the latents have shrunk together. Effective rank does not show it: noise has full rank."""
        return self.std < COLLAPSED_STD and self.prediction >= COLLAPSED_SHARE * self.copying
