"""The measurement of held-out clips during training: the loss, and of a world model its latent space."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import mul

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lewm_cli.methods import Objective
from lewm_cli.model import Batch, FrozenEncoder, Network

COLLAPSED_STD = 0.1
COLLAPSED_SHARE = 0.5
"""A latent space is called collapsed if its standard deviation per dimension is smaller than the first, and if what is
predicted is hardly better than the last latent repeated: than this share of that error. SIGReg and variance terms keep
the deviation near 1; where actions are decoded it may be any, and a small space is as good as a large one."""

ALIKE = 1e-4
"""Tokens of a frozen encoder have any scale, and what most frames show is the same. They are called collapsed if a
hundredth of their size tells frames apart: if their mean cosine is nearer to 1 than this."""


@dataclass(frozen=True)
class HeldOut:
    """Losses on held-out clips: all that can be measured of a policy.

    Args:
        parts: of the loss by name, means over batches; dimensionless.
    """

    parts: dict[str, float]

    @classmethod
    def measure(
        cls, objective: Objective, model: Network, heads: nn.ModuleDict, batches: Iterable[Batch]
    ) -> "tuple[HeldOut, Tensor | None]":
        """Measure a model as it is published; its loss draws other random numbers than training does.

        Batches are always of the same size: regularizers may depend on it. A last one of a single clip is left out: it
        has no variance.

        Returns:
            the measurement, and the latents (N, D) of the first frames of all clips, in their order, of a world model.
        """
        generator = torch.Generator(model.device).manual_seed(0)
        parts, seen = [], []
        with torch.inference_mode():
            for batch in batches:
                if len(batch.blocks) > 1:
                    loss = objective.loss(model, heads, batch, generator)
                    parts.append(loss.parts)
                    if loss.latents is not None and loss.predicted is not None:
                        seen.append(_Seen.of(loss.latents, loss.predicted))
            means = {name: torch.stack([one[name] for one in parts]).mean().item() for name in parts[0]}
        if not seen:
            return HeldOut(means), None
        means.pop("prediction", None)  # measured over all clips, not as a mean over batches
        frozen = isinstance(getattr(model, "encoder", None), FrozenEncoder)
        return HeldOutLatents.found(means, seen, frozen=frozen)

    @property
    def finite(self) -> bool:
        """True if no number is NaN or infinite."""
        numbers = vars(self) | self.parts
        return all(math.isfinite(value) for name, value in numbers.items() if name != "parts" and value is not None)


@dataclass(frozen=True)
class HeldOutLatents(HeldOut):
    """Losses of a world model and the spread of its latents on held-out clips, all dimensionless.

    Args:
        parts: the other parts of the loss by name, means over batches.
        prediction: mean squared error of the predicted next latent.
        copying: the same for a predictor that repeats the last latent.
        std: mean over dimensions of the standard deviation over clips; near 0 when collapsed.
        std_min: of the narrowest dimension.
        effective_rank: exponential of the entropy of the latents' normalized singular values.
        cosine: mean cosine between latents of different clips; near 0 when healthy, near 1 when collapsed.
        straightness: mean cosine of successive latent steps, 0 where nothing moves; 1 on a line, 0 of a random walk;
            None of clips of two frames, which have one step, and in logs of earlier versions.
        frozen: the encoder is never trained, so latents have the scale that it gives them.
    """

    prediction: float
    copying: float
    std: float
    std_min: float
    effective_rank: float
    cosine: float
    straightness: float | None = None
    frozen: bool = False

    @classmethod
    def found(
        cls, parts: dict[str, float], seen: "Sequence[_Seen]", *, frozen: bool
    ) -> "tuple[HeldOutLatents, Tensor]":
        """The measurement of batches that were seen, and the latents (N, D) of their clips' first frames."""
        first = torch.cat([batch.first for batch in seen]).double()
        std = first.std(dim=0)
        unit_sum = (1 / first.norm(dim=1).clamp_min(1e-12)) @ first
        count, clips = len(first), [len(batch.first) for batch in seen]
        straight = [batch.straightness for batch in seen if batch.straightness is not None]
        measured = cls(
            parts=parts,
            prediction=math.fsum(batch.prediction * n for batch, n in zip(seen, clips, strict=True)) / count,
            copying=math.fsum(batch.copying * n for batch, n in zip(seen, clips, strict=True)) / count,
            std=std.mean().item(),
            std_min=std.min().item(),
            effective_rank=_effective_rank(first - first.mean(dim=0)),
            cosine=((unit_sum.square().sum() - count) / (count * (count - 1))).item(),
            straightness=math.fsum(map(mul, straight, clips)) / count if straight else None,
            frozen=frozen,
        )
        return measured, first

    @property
    def collapsed(self) -> bool:
        """True if the latents have shrunk together. Effective rank does not show it: noise has full rank."""
        if self.frozen:
            return 1 - self.cosine < ALIKE
        return self.std < COLLAPSED_STD and self.prediction >= COLLAPSED_SHARE * self.copying

    @property
    def spread(self) -> str:
        """The number that tells of a collapse, in words."""
        if self.frozen:
            return f"the mean cosine of its latents is 1 - {max(0.0, 1 - self.cosine):.1g}"
        return f"its standard deviation is {self.std:.2g}"


@dataclass(frozen=True)
class _Seen:
    """The little that is kept of a batch, whose latents may be very large."""

    first: Tensor
    prediction: float
    copying: float
    straightness: float | None

    @classmethod
    def of(cls, latents: Tensor, predicted: Tensor) -> "_Seen":
        """Keeps it of latents (B, T, D) and of predictions (B, T - 1, D) of all but the first."""
        last, following = latents[:, :-1], latents[:, 1:]
        prediction, copying = F.mse_loss(predicted, following).item(), F.mse_loss(last, following).item()
        steps = latents.diff(dim=1)
        turns = F.cosine_similarity(steps[:, :-1], steps[:, 1:], dim=-1)
        straight = turns.mean().item() if turns.numel() else None
        return cls(latents[:, 0].cpu(), prediction, copying, straight)


def _effective_rank(centered: Tensor) -> float:
    """That of vectors (N, D) in float64, whose mean is 0; NaN where one is not finite, of which none is computed."""
    if not centered.isfinite().all():
        return math.nan
    clips, dimensions = centered.shape
    if dimensions > clips:  # the same numbers from a far smaller matrix
        singular = torch.linalg.eigvalsh(centered @ centered.T).clamp_min(0).sqrt()
    else:
        singular = torch.linalg.svdvals(centered)
    weights = singular / singular.sum().clamp_min(1e-30)
    return math.exp(torch.special.entr(weights).sum().item())
