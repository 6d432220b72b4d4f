"""PLDM (arXiv 2502.14819): predict the next latent, and keep the latents' variances up and their covariances down."""

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat

from lewm_cli.config import Inputs, NetworkConfig
from lewm_cli.methods.latent_prediction import Regularized

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from lewm_cli.methods.loss import Embedded, Term

FLOOR = 1e-4
"""Added to variances, so that the gradient of their root stays finite."""


class PLDM(Regularized):
    """Prediction + lambda * (variance, covariance, alignment and, if it has a weight, an inverse model).

    Weights are those that LeWorldModel's authors tuned (stable_worldmodel's PLDM); lambda multiplies all of them.
    """

    name: ClassVar[str] = "pldm"
    summary: ClassVar[str] = "Variances are kept up and covariances down; successive latents are kept near."
    source: ClassVar[str] = "PLDM, arXiv 2502.14819, as tuned for LeWorldModel"
    regularizer: ClassVar[str] = "the variance, covariance and alignment terms"

    lambda_: NonNegativeFloat = Field(1.0, alias="lambda", description="factor of all its weights")
    std: NonNegativeFloat = Field(18.0, description="weight of: deviation over the batch is at least 1")
    cov: NonNegativeFloat = Field(12.0, description="weight of: dimensions are uncorrelated over the batch")
    std_t: NonNegativeFloat = Field(0.7, description="weight of: deviation over the clip is at least 1")
    cov_t: NonNegativeFloat = Field(0.0, description="weight of: dimensions are uncorrelated over the clip")
    temp_align: NonNegativeFloat = Field(0.2, description="weight of: successive latents are near each other")
    inverse: NonNegativeFloat = Field(0.0, description="weight of: the action is decoded from both latents")

    def heads(self, sizes: NetworkConfig, inputs: Inputs) -> "dict[str, nn.Module]":
        """The inverse model, if it has a weight."""
        assert sizes.latent_dim is not None
        from torch import nn

        if not self.inverse:
            return {}
        layers = nn.Linear(2 * sizes.latent_dim, 512), nn.LayerNorm(512), nn.GELU(), nn.Linear(512, inputs.block_dim)
        return {"inverse": nn.Sequential(*layers)}

    @property
    def action_terms(self) -> tuple[str, ...]:
        """The decoded action."""
        return (*super().action_terms, *(["inverse"] if self.inverse else []))

    def regularizers(
        self, clips: "Embedded", heads: "nn.ModuleDict", generator: "torch.Generator | None"
    ) -> "dict[str, Term]":
        """Every term that has a weight; variances and covariances are of latents minus their mean over the batch."""
        from lewm_cli.methods.loss import Term

        centered = clips.latents - clips.latents.mean(dim=0)
        over_time = centered.transpose(0, 1)
        terms = {
            "std": (self.std, partial(deviation_hinge, centered)),
            "cov": (self.cov, partial(covariance, centered)),
            "std_t": (self.std_t, partial(deviation_hinge, over_time)),
            "cov_t": (self.cov_t, partial(covariance, over_time)),
            "temp_align": (self.temp_align, partial(alignment, clips.latents)),
            "inverse": (self.inverse, partial(inverse_error, heads, clips)),
        }
        return {name: Term(value(), self.lambda_ * weight) for name, (weight, value) in terms.items() if weight}


def deviation_hinge(latents: "Tensor") -> "Tensor":
    """By how much the standard deviation over the first axis of latents (N, M, D) falls short of 1, on average."""
    return (1 - (latents.var(dim=0) + FLOOR).sqrt()).relu().mean()


def covariance(latents: "Tensor") -> "Tensor":
    """Mean square of covariances between dimensions of latents (N, M, D) over the first axis, whose mean is 0."""
    samples, _, size = latents.shape
    over = latents.transpose(0, 1)
    matrices = over.transpose(1, 2) @ over / (samples - 1)
    squares = matrices.square().sum(dim=(1, 2)) - matrices.diagonal(dim1=1, dim2=2).square().sum(dim=1)
    return (squares / max(size * (size - 1), 1)).mean()


def alignment(latents: "Tensor") -> "Tensor":
    """Mean square of the steps between successive latents (B, T, D)."""
    return latents.diff(dim=1).square().mean()


def inverse_error(heads: "nn.ModuleDict", clips: "Embedded") -> "Tensor":
    """Mean squared error of the action blocks that the inverse model decodes from the latents after and before them."""
    import torch

    decoded = heads["inverse"](torch.cat([clips.latents[:, 1:], clips.latents[:, :-1]], dim=-1))
    return (decoded - clips.blocks).square().mean()
