"""The losses of LeWorldModel, as they are configured."""

from pydantic import Field, NonNegativeFloat, PositiveInt

from lewm_cli.config import Section


class ObjectiveConfig(Section):
    """The two losses: prediction + lambda * SIGReg."""

    lambda_: NonNegativeFloat = Field(0.09, alias="lambda", description="weight of SIGReg")
    knots: int = Field(17, ge=2, description="integration nodes on [0, 3]")
    projections: PositiveInt = Field(1024, description="random directions per call")

    @property
    def explanation(self) -> str:
        """The loss in words, for the page of a run."""
        return (
            f"Prediction of the next latent, plus {self.lambda_:g} \u00d7 SIGReg, which keeps the latents spread like "
            "a Gaussian. Without it they would shrink to a point that is trivial to predict."
        )
