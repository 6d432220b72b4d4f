"""The decoder: draws the frame that a latent was encoded from, so that imagination can be looked at."""

import time
from collections.abc import Callable
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from lewm_cli.data import DecodedFrames, Likeness, frame_bytes
from lewm_cli.heads.head_fit import FITTED, HeadFit, optimize
from lewm_cli.heads.latents import LatentSplit
from lewm_cli.model import FrameDecoder

PATCHES_AT_ONCE = 1024
"""Patches that a step of the optimizer draws; frames of a batch are so many as they are in."""

MOST_BYTES = 2**30
"""Of frames that are kept in memory to be fitted to."""

FRAMES_AT_ONCE = 64


class DecoderFit(HeadFit):
    """A decoder beside the mean frame, which is what can be drawn without a latent."""

    usual_steps: ClassVar[int] = 2000
    most_fitted: ClassVar[int] = 10_000
    most_tested: ClassVar[int] = 1_000

    kind: Literal["decoder"] = "decoder"
    image_size: PositiveInt
    """Side of a frame, pixels."""
    tokens: PositiveInt
    """That a latent is made of."""
    decoded: Likeness
    mean_frame: Likeness

    @classmethod
    def fit(
        cls, split: LatentSplit, *, seed: int, steps: int, advance: Callable[[int], None]
    ) -> tuple[nn.ModuleDict, Self]:
        """Fits the decoder to frames, and scores it on frames of other episodes."""
        begun, sizes = time.monotonic(), split.run.world_model.config
        frames = DecodedFrames(split.dataset, sizes.image_size)
        generator = torch.Generator().manual_seed(seed)
        most = max(1, MOST_BYTES // frame_bytes(1, sizes.image_size))
        kept = torch.randperm(len(split.fitted.rows), generator=generator)[:most].sort().values
        latents = split.fitted.latents[kept]
        truth = torch.from_numpy(frames.rows(split.fitted.rows[kept.numpy()]))
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            decoder = FrameDecoder(latents.shape[1], sizes.image_size, sizes.latent_tokens)
        decoder.fit(latents, truth)
        batch = max(1, PATCHES_AT_ONCE // decoder.grid**2)

        def loss() -> Tensor:
            drawn = torch.randint(len(latents), (batch,), generator=generator)
            errors: Tensor = (decoder(latents[drawn]) - truth[drawn]) / decoder.spread
            return errors.square().mean()

        optimize(decoder, loss, steps, advance)
        decoder.eval()
        tested = frames.rows(split.tested.rows)
        of_mean = np.broadcast_to(to_frames(decoder.mean), tested.shape)
        return nn.ModuleDict({FITTED: decoder}), cls.fitted_to(
            split,
            begun=begun,
            hidden=decoder.queries.shape[1],
            steps=steps,
            seed=seed,
            recipe=f"mean squared error of pixels about the mean frame, AdamW 2e-3 with cosine, weight decay 1e-4, "
            f"batches of {batch} frames out of {len(latents)}; {len(decoder.queries)} queries, "
            f"{len(decoder.blocks)} blocks of cross-attention and MLP, patches of {decoder.side} pixels",
            image_size=sizes.image_size,
            tokens=decoder.tokens,
            decoded=Likeness.of(decode(decoder, split.tested.latents), tested, split.tested.owners),
            mean_frame=Likeness.of(of_mean, tested, split.tested.owners),
        )

    def networks(self) -> nn.ModuleDict:
        return nn.ModuleDict({FITTED: FrameDecoder(self.latent, self.image_size, self.tokens, self.hidden)})

    @property
    def summary(self) -> str:
        return f"PSNR {self.decoded.psnr:.1f} dB, mean frame {self.mean_frame.psnr:.1f}"

    @property
    def table(self) -> tuple[tuple[str, ...], ...]:
        scores = {"decoder": self.decoded, "mean frame": self.mean_frame}
        rows = ((name, f"{score.psnr:.1f}", str(score.ssim)) for name, score in scores.items())
        return ("frames drawn by", "PSNR, dB", "SSIM"), *rows

    @property
    def remarks(self) -> tuple[str, ...]:
        better = self.decoded.psnr.low > self.mean_frame.psnr.high
        return (f"The decoder is {'' if better else 'NOT '}shown to draw more than the mean frame.",)


@torch.inference_mode()
def decode(decoder: nn.Module, latents: Tensor) -> np.ndarray:
    """Draws latents (N, D) on the CPU as frames (N, H, W, 3) uint8."""
    starts = range(0, max(1, len(latents)), FRAMES_AT_ONCE)
    return np.concatenate([to_frames(decoder(latents[start : start + FRAMES_AT_ONCE])) for start in starts])


def to_frames(levels: Tensor) -> np.ndarray:
    """Rounds levels (..., 3) to uint8; those that are too dark or too bright become the nearest."""
    frames: np.ndarray = levels.round().clamp(0, 255).to(torch.uint8).numpy()
    return frames
