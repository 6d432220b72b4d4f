"""One training step: the loss of a batch, its gradient, and the update of the weights."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn, optim

from lewm_cli.config import Inputs
from lewm_cli.data import Clip
from lewm_cli.methods import Loss, TrainConfig
from lewm_cli.model import Batch, Network, VisionTransformer, has_bf16, normalize_pixels
from lewm_cli.train.compiled import PAYS_AFTER, compile_parts, compute_as_is
from lewm_cli.train.encoded_frames import EncodedFrames


class Learner:
    """A network that is trained, the heads that only its loss needs, and the optimizer.

    Args:
        say: told in a sentence what a user should know of how steps are computed.

    Attributes:
        phase: of the training, which decides the loss.
        encoded: the frames whose rows clips have; None where clips have frames.
    """

    encoded: EncodedFrames | None = None

    def __init__(
        self,
        config: TrainConfig,
        inputs: Inputs,
        model: Network,
        device: torch.device,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.model, self.inputs, self.device = model.to(device), inputs, device
        self.objective = config.objective
        # After the network, so that the random weights of heads change nothing about it.
        self.heads = nn.ModuleDict(self.objective.heads(config.model, inputs)).to(device)
        self.objective.begin(self.model, self.heads)
        self.phase = self.objective.phases[0]
        parts = nn.ModuleList([self.model, self.heads])
        self.trained = [weights for weights in parts.parameters() if weights.requires_grad]
        self.settings = settings = config.optimizer
        self.autocast = settings.precision == "bf16" and has_bf16(device)
        self._say, self._compiling = say, False
        for part in self.model.modules():
            if isinstance(part, VisionTransformer):
                part.checkpointing = settings.checkpointing
        self.optimizer = optim.AdamW(
            self.trained, lr=settings.lr, weight_decay=settings.weight_decay, fused=device.type != "mps"
        )

    def begin(self, steps: int) -> None:
        """Settle how so many steps are computed, and say it where it takes time or is not what was asked for."""
        wanted, gpu = self.settings.compile, self.device.type == "cuda"
        if gpu and self.settings.precision == "bf16" and not self.autocast:
            self._say(f"{self.device} has no bf16, so everything is computed in float32")
        if wanted is True or (wanted == "auto" and gpu and steps >= PAYS_AFTER):
            self._say("compiling encoder and predictor, about a minute (--set optimizer.compile=false leaves it out)")
            self._compiling = True
            compile_parts(self.model)

    def step(self, clips: Clip, lr: float) -> tuple[Loss, Tensor]:
        """Take one step; returns the loss before it, and the norm of its gradient, on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.model.train()
        self.heads.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._compiled_gradient(clips) if self._compiling else self._gradient(clips)
        norm = nn.utils.clip_grad_norm_(self.trained, self.settings.clip or math.inf)
        self.optimizer.step()
        self.objective.after_step(self.model, self.heads, self.phase)
        return loss, norm

    @property
    def idle(self) -> bool:
        """True if the device has nothing left to do; while a batch is waited for it waits too, then and only then."""
        return self.device.type != "cuda" or bool(torch.cuda.current_stream(self.device).query())

    def _compiled_gradient(self, clips: Clip) -> Loss:
        """The gradient of the first step, during which parts are compiled, or not if that fails."""
        self._compiling = False
        try:
            return self._gradient(clips)
        except Exception as error:  # of compilers: anything
            if out_of_memory(error):
                raise
            reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        self._say(f"compiling failed, so steps are computed without it ({reason})")
        compute_as_is(self.model)
        self.optimizer.zero_grad(set_to_none=True)
        return self._gradient(clips)

    def _gradient(self, clips: Clip) -> Loss:
        """Add up the gradient of the mean loss of the parts that the clips are taken in."""
        parts, losses = self.settings.accumulate, []
        for part in clips.split(parts):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
                loss = self.objective.loss(self.model, self.heads, self.batch(part))
            (loss.total / parts).backward()  # type: ignore[no-untyped-call]
            losses.append(loss)
        return _mean(losses)

    def batch(self, clips: Clip) -> Batch:
        """Clips as the network takes them, on its device."""
        here = clips.each(lambda part: part.to(self.device))
        goals = at_goal = None
        if here.goals is not None:
            aims = here.goals[:, None]
            at_goal = self.encoded.same(here.pixels, aims) if self.encoded else (here.pixels == aims).flatten(2).all(-1)
            goals = self._seen(here.goals)
        return Batch(self._seen(here.pixels), here.blocks, here.proprio, goals, at_goal, self.phase.name)

    def _seen(self, frames: Tensor) -> Tensor:
        return self.encoded.at(frames) if self.encoded else normalize_pixels(frames, self.inputs.pixels)


def out_of_memory(error: Exception) -> bool:
    """True for all that a device or the system says when memory runs out."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    told = isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    return told or isinstance(error, MemoryError | torch.OutOfMemoryError)


def _mean(losses: Sequence[Loss]) -> Loss:
    """The mean loss of parts of the same size, without latents: they are measured on held-out clips."""
    return Loss(
        torch.stack([loss.total.detach() for loss in losses]).mean(),
        {name: torch.stack([loss.parts[name].detach() for loss in losses]).mean() for name in losses[0].parts},
    )
