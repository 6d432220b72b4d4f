"""One training step: the loss of a batch, its gradient, and the update of the weights."""

import torch
from torch import Tensor, nn, optim

from lewm_cli.config import Inputs
from lewm_cli.data import Clip
from lewm_cli.methods import Batch, Loss, Network, TrainConfig
from lewm_cli.model import normalize_pixels


class Learner:
    """A network that is trained, the heads that only its loss needs, and the optimizer that changes them."""

    def __init__(self, config: TrainConfig, inputs: Inputs, model: Network, device: torch.device) -> None:
        self.model, self.inputs, self.device = model.to(device), inputs, device
        self.objective = config.objective
        # After the network, so that the random weights of heads change nothing about it.
        self.heads = nn.ModuleDict(self.objective.heads(config.model, inputs)).to(device)
        self.trained = [*self.model.parameters(), *self.heads.parameters()]
        settings = config.optimizer
        self.clip = settings.clip
        self.autocast = settings.precision == "bf16" and device.type == "cuda"
        self.optimizer = optim.AdamW(
            self.trained, lr=settings.lr, weight_decay=settings.weight_decay, fused=device.type != "mps"
        )

    def step(self, clips: Clip, lr: float) -> tuple[Loss, Tensor]:
        """Take one step; returns the loss before it, and the norm of its gradient, on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.model.train()
        self.heads.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            loss = self.objective.loss(self.model, self.heads, self.batch(clips))
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.trained, self.clip)
        self.optimizer.step()
        return loss, norm

    def batch(self, clips: Clip) -> Batch:
        """Clips as the network takes them, on its device."""
        pixels = normalize_pixels(clips.pixels.to(self.device), self.inputs.pixels)
        return Batch(pixels, clips.blocks.to(self.device))
