"""A decoder that is solved for at once, for pictures during training: no optimizer, and no random numbers."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from lewm_cli.heads.decoder import to_frames

REACH = 0.3
"""Square of the kernel's length, as a share of the mean squared distance of two latents."""

RIDGE = 0.01


@dataclass(frozen=True)
class KernelDecoder:
    """Draws a latent as a mixture of recorded frames: kernel ridge regression of pixels about their mean on latents.

    Of a latent that is far from all that were recorded, it draws the mean frame.

    Args:
        latents: (N, D) float32 on the CPU, of recorded frames.
        pixels: (N, H, W, 3) uint8, those frames.
        solved: (N, N) Cholesky factor of the kernel matrix with the ridge.
        length: square of the kernel's length.
    """

    latents: Tensor
    pixels: Tensor
    solved: Tensor
    length: Tensor

    @classmethod
    def fit(cls, latents: Tensor, frames: np.ndarray) -> Self:
        """Solves for latents (N, D) float32 on the CPU and their frames (N, H, W, 3) uint8."""
        length = (REACH * 2 * latents.var(dim=0, correction=0).sum()).clamp_min(1e-30)
        kernel = _kernel(latents, latents, length)
        solved = torch.linalg.cholesky(kernel + RIDGE * torch.eye(len(latents)))
        return cls(latents, torch.from_numpy(frames), solved, length)

    @property
    def side(self) -> int:
        """Pixels a side of a frame."""
        return self.pixels.shape[1]

    def draw(self, latents: Tensor) -> np.ndarray:
        """Frames (..., H, W, 3) uint8 of latents (..., D) float32 on the CPU."""
        seen = _kernel(latents.flatten(0, -2), self.latents, self.length)
        shares = torch.cholesky_solve(seen.T, self.solved).T
        levels = self.pixels.flatten(1).float()
        mean = levels.mean(dim=0)
        return to_frames((shares @ (levels - mean) + mean).view(*latents.shape[:-1], *self.pixels.shape[1:]))


def _kernel(some: Tensor, others: Tensor, length: Tensor) -> Tensor:
    """Gaussian kernel (N, M) of latents (N, D) and (M, D)."""
    center = others.mean(dim=0)  # or rounding is larger than the distances of latents that lie close together
    return torch.exp(torch.cdist(some - center, others - center).square() / (-2 * length))
