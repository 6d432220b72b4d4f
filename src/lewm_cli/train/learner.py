"""One training step: the loss of a batch, its gradient, and the update of the weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn, optim

from lewm_cli.config import Inputs
from lewm_cli.data import Clip
from lewm_cli.methods import Batch, Loss, Network, TrainConfig
from lewm_cli.model import VisionTransformer, normalize_pixels


class Learner:
    """What is trained, and how a step changes it: a network, the heads that only its loss needs, and the optimizer."""

    def __init__(self, config: TrainConfig, inputs: Inputs, model: Network, device: torch.device) -> None:
        self.model, self.inputs, self.device = model.to(device), inputs, device
        self.objective = config.objective
        # After the network, so that the random weights of heads change nothing about it.
        self.heads = nn.ModuleDict(self.objective.heads(config.model, inputs)).to(device)
        self.trained = [*self.model.parameters(), *self.heads.parameters()]
        settings = config.optimizer
        self.clip, self.accumulate = settings.clip, settings.accumulate
        self.autocast = settings.precision == "bf16" and device.type == "cuda"
        for part in self.model.modules():
            if isinstance(part, VisionTransformer):
                part.checkpointing = settings.checkpointing
        self.optimizer = optim.AdamW(
            self.trained, lr=settings.lr, weight_decay=settings.weight_decay, fused=device.type != "mps"
        )

    def step(self, clips: Clip, lr: float) -> tuple[Loss, Tensor]:
        """Take one step; returns the loss before it, and the norm of its gradient, on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.model.train()
        self.heads.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._gradient(clips)
        norm = nn.utils.clip_grad_norm_(self.trained, self.clip)
        self.optimizer.step()
        return loss, norm

    @property
    def idle(self) -> bool:
        """True if the device has nothing left to do; while a batch is waited for it waits too, then and only then."""
        return self.device.type != "cuda" or bool(torch.cuda.current_stream(self.device).query())

    def _gradient(self, clips: Clip) -> Loss:
        """Add up the gradient of the mean loss of the parts that the clips are taken in."""
        parts, losses = self.accumulate, []
        for pixels, blocks in zip(clips.pixels.chunk(parts), clips.blocks.chunk(parts), strict=True):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
                loss = self.objective.loss(self.model, self.heads, self.batch(Clip(pixels, blocks)))
            (loss.total / parts).backward()  # type: ignore[no-untyped-call]
            losses.append(loss)
        return _mean(losses)

    def batch(self, clips: Clip) -> Batch:
        """Clips as the network takes them, on its device."""
        pixels = normalize_pixels(clips.pixels.to(self.device), self.inputs.pixels)
        return Batch(pixels, clips.blocks.to(self.device))


def _mean(losses: Sequence[Loss]) -> Loss:
    """The mean loss of parts of the same size, whose latents are joined again."""
    if len(losses) == 1:
        return losses[0]
    return Loss(
        torch.stack([loss.total for loss in losses]).mean(),
        {name: torch.stack([loss.parts[name] for loss in losses]).mean() for name in losses[0].parts},
        torch.cat([loss.latents for loss in losses]),
        torch.cat([loss.predicted for loss in losses]),
    )
