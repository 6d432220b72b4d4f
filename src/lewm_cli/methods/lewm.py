"""LeWorldModel (arXiv 2603.19312): predict the next latent, and keep the latents Gaussian with SIGReg."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveInt

from lewm_cli.methods.latent_prediction import Regularized

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lewm_cli.methods.loss import Embedded, Term


class LeWM(Regularized):
    """Prediction + lambda * SIGReg."""

    name: ClassVar[str] = "lewm"
    summary: ClassVar[str] = "SIGReg keeps the latents spread like a Gaussian."
    source: ClassVar[str] = "LeWorldModel, arXiv 2603.19312"
    regularizer: ClassVar[str] = "SIGReg"

    lambda_: NonNegativeFloat = Field(0.09, alias="lambda", description="weight of SIGReg")
    knots: int = Field(17, ge=2, description="integration nodes on [0, 3]")
    projections: PositiveInt = Field(1024, description="random directions per call")

    def regularizers(
        self, clips: "Embedded", heads: "nn.ModuleDict", generator: "torch.Generator | None"
    ) -> "dict[str, Term]":
        """SIGReg of each time step of the clips."""
        from lewm_cli.methods.loss import Term
        from lewm_cli.model import SIGReg

        sigreg = SIGReg(self.knots, self.projections)
        return {"SIGReg": Term(sigreg(clips.latents.transpose(0, 1), generator), self.lambda_)}
