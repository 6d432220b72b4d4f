"""Delta-JEPA (arXiv 2606.31232): predict the next latent, and decode the action from the difference of latents."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveInt

from lewm_cli.config import Inputs, NetworkConfig, TransformerConfig
from lewm_cli.methods.latent_prediction import Regularized

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lewm_cli.methods.loss import Embedded, Term


class DecoderConfig(TransformerConfig):
    """Sizes of the transformer that decodes actions; those that are not set stay these."""

    width: PositiveInt = Field(64, description="token width")
    depth: PositiveInt = Field(3, description="number of blocks")
    heads: PositiveInt = Field(4, description="attention heads")
    head_dim: PositiveInt = Field(16, description="width of one head")
    mlp: PositiveInt = Field(128, description="hidden width of a block's MLP")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout inside the blocks")


class Delta(Regularized):
    """Prediction + lambda * the error of the action block that is decoded from the latent difference alone."""

    name: ClassVar[str] = "delta"
    summary: ClassVar[str] = "The action is decoded from the difference of two successive latents; no SIGReg."
    source: ClassVar[str] = "Delta-JEPA, arXiv 2606.31232"
    regularizer: ClassVar[str] = "the error of the decoded action"

    lambda_: NonNegativeFloat = Field(10.0, alias="lambda", description="weight of the decoded action's error")
    decoder: DecoderConfig = Field(
        DecoderConfig(), description="transformer with one query per environment step of an action block"
    )

    def heads(self, sizes: NetworkConfig, inputs: Inputs) -> "dict[str, nn.Module]":
        """The decoder."""
        assert sizes.latent_dim is not None
        from lewm_cli.model import DifferenceDecoder

        return {"delta": DifferenceDecoder(self.decoder, sizes.latent_dim, inputs.frameskip, inputs.actions.dim)}

    @property
    def action_terms(self) -> tuple[str, ...]:
        """The decoded action."""
        return (*super().action_terms, *(["delta"] if self.lambda_ else []))

    def regularizers(
        self, clips: "Embedded", heads: "nn.ModuleDict", generator: "torch.Generator | None"
    ) -> "dict[str, Term]":
        """Error of the decoded action blocks."""
        from lewm_cli.methods.loss import Term

        decoded = heads["delta"](clips.latents.diff(dim=1))
        return {"delta": Term((decoded - clips.blocks).square().mean(), self.lambda_)}
