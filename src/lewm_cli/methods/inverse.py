"""Sensorimotor world model (SMWM, arXiv 2606.20104): predict the next latent, and decode the action from both."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveInt

from lewm_cli.config import Inputs, NetworkConfig
from lewm_cli.methods.latent_prediction import Regularized

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lewm_cli.methods.loss import Embedded, Term


class Inverse(Regularized):
    """Prediction + lambda * the error of the action block that is decoded from both latents."""

    name: ClassVar[str] = "inverse"
    summary: ClassVar[str] = "The action is decoded from the latents before and after it; no SIGReg."
    source: ClassVar[str] = "sensorimotor world model (SMWM), arXiv 2606.20104"
    regularizer: ClassVar[str] = "the error of the decoded action"

    lambda_: NonNegativeFloat = Field(1.0, alias="lambda", description="weight of the decoded action's error")
    hidden: PositiveInt = Field(256, description="width of the inverse model's two hidden layers")

    def heads(self, sizes: NetworkConfig, inputs: Inputs) -> "dict[str, nn.Module]":
        """The inverse model: three linear layers with ReLU, as the authors have it."""
        assert sizes.latent_dim is not None
        from torch import nn

        layers = (
            *(nn.Linear(2 * sizes.latent_dim, self.hidden), nn.ReLU()),
            *(nn.Linear(self.hidden, self.hidden), nn.ReLU()),
            nn.Linear(self.hidden, inputs.block_dim),
        )
        return {"inverse": nn.Sequential(*layers)}

    @property
    def action_terms(self) -> tuple[str, ...]:
        """The decoded action."""
        return (*super().action_terms, *(["inverse"] if self.lambda_ else []))

    def regularizers(
        self, clips: "Embedded", heads: "nn.ModuleDict", generator: "torch.Generator | None"
    ) -> "dict[str, Term]":
        """Error of the decoded action blocks."""
        import torch

        from lewm_cli.methods.loss import Term

        pairs = torch.cat([clips.latents[:, :-1], clips.latents[:, 1:]], dim=-1)
        decoded = heads["inverse"](pairs)
        return {"inverse": Term((decoded - clips.blocks).square().mean(), self.lambda_)}
