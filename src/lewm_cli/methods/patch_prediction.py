"""DINO-WM (arXiv 2411.04983): predict the patch tokens of the next frame that a frozen encoder gives."""

from typing import TYPE_CHECKING, ClassVar

from lewm_cli.config import DinoWMConfig, DinoWMNopropConfig, NetworkConfig
from lewm_cli.methods.objective import Objective

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lewm_cli.methods.loss import Loss
    from lewm_cli.model import Batch, Network


class PatchPrediction(Objective):
    """Mean squared error of all patch tokens one step later; gradients flow through the prediction alone."""

    name: ClassVar[str] = "dinowm_noprop"
    summary: ClassVar[str] = "Patch tokens of a frozen encoder are predicted, from them and actions alone."
    source: ClassVar[str] = "DINO-WM without proprioception, arXiv 2411.04983"
    Sizes: ClassVar[type[NetworkConfig]] = DinoWMNopropConfig

    @classmethod
    def network(cls, sizes: NetworkConfig, block_dim: int) -> "Network":
        """DINO-WM with random weights, those of the encoder included."""
        from lewm_cli.methods.dino_wm import DinoWM

        assert isinstance(sizes, DinoWMNopropConfig)
        return DinoWM(sizes, block_dim)

    def loss(
        self, model: "Network", heads: "nn.ModuleDict", batch: "Batch", generator: "torch.Generator | None" = None
    ) -> "Loss":
        """The prediction; of large latents, monitoring gets numbers from all over them."""
        from torch.nn import functional as F

        from lewm_cli.methods.dino_wm import DinoWM
        from lewm_cli.methods.loss import Loss

        assert isinstance(model, DinoWM)
        latents = model.embed(batch.pixels, batch.proprio).float()
        predicted = model.predict(latents[:, :-1], model.embed_actions(batch.blocks[:, :-1])).float()
        error = F.mse_loss(predicted, latents[:, 1:].detach())
        return Loss(error, {"prediction": error}, model.monitored(latents), model.monitored(predicted))

    @property
    def explanation(self) -> str:
        """The loss in words, for the page of a run."""
        return f"Prediction of the next patch tokens. {self.summary}"

    @property
    def collapse_advice(self) -> str:
        """Another encoder is needed where this one tells frames hardly apart: it is never trained."""
        return "its frozen encoder sees hardly a difference between frames: name another --encoder"


class ProprioPatchPrediction(PatchPrediction):
    """The same with the embedding of proprioception in every token, which is predicted too."""

    name: ClassVar[str] = "dinowm"
    summary: ClassVar[str] = "Patch tokens of a frozen encoder are predicted, and proprioception with them."
    source: ClassVar[str] = "DINO-WM, arXiv 2411.04983"
    Sizes: ClassVar[type[NetworkConfig]] = DinoWMConfig
    without_proprio: ClassVar[str | None] = PatchPrediction.name
