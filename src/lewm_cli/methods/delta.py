"""Delta-JEPA (arXiv 2606.31232): predict the next latent, and decode the action from the difference of latents."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat

from lewm_cli.config import Inputs, NetworkConfig, PredictorConfig
from lewm_cli.methods.latent_prediction import Regularized

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lewm_cli.methods.loss import Embedded, Term


class Delta(Regularized):
    """Prediction + lambda * the error of the action block that is decoded from the latent difference alone."""

    name: ClassVar[str] = "delta"
    summary: ClassVar[str] = "The action is decoded from the difference of two successive latents; no SIGReg."
    source: ClassVar[str] = "Delta-JEPA, arXiv 2606.31232"
    regularizer: ClassVar[str] = "the error of the decoded action"

    lambda_: NonNegativeFloat = Field(10.0, alias="lambda", description="weight of the decoded action's error")
    decoder: PredictorConfig = Field(
        PredictorConfig(width=64, depth=3, heads=4, head_dim=16, mlp=128, dropout=0.0),
        description="transformer with one query per environment step of an action block",
    )

    def heads(self, sizes: NetworkConfig, inputs: Inputs) -> "dict[str, nn.Module]":
        """The decoder."""
        from lewm_cli.model import DifferenceDecoder

        return {"delta": DifferenceDecoder(self.decoder, sizes.latent, inputs.frameskip, inputs.actions.dim)}

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
        return {"delta": Term((decoded.float() - clips.blocks).square().mean(), self.lambda_)}
