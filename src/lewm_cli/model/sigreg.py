"""SIGReg: the distance of a batch of latents from an isotropic Gaussian, seen through random directions."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SIGReg:
    """Sketched isotropic Gaussian regularizer (LeJEPA, arXiv 2511.08544).

    Along each random unit direction the empirical characteristic function of the batch is compared with that of
    a standard Gaussian, exp(-t^2 / 2), at nodes on [0, 3]. The squared difference is integrated by the
    trapezoid rule with weight exp(-t^2 / 2), doubled for the symmetric half and multiplied by the batch size,
    which makes it a test statistic: about 1 when the latents are Gaussian, whatever the batch.

    Args:
        knots: integration nodes on [0, 3], both ends included.
        num_proj: directions drawn at each call.
    """

    knots: int = 17
    num_proj: int = 1024

    def __call__(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The statistic, averaged over directions and time steps; always computed in float32.

        Args:
            latents: (T, B, D)
            generator: random numbers for the directions; torch's global ones if not given.

        Returns:
            scalar
        """
        with torch.autocast(latents.device.type, enabled=False):
            directions = torch.randn(latents.shape[-1], self.num_proj, device=latents.device, generator=generator)
            projected = latents.float() @ (directions / directions.norm(dim=0))  # (T, B, directions)
            nodes = torch.linspace(0, 3, self.knots, device=latents.device)
            gaussian = torch.exp(-nodes.square() / 2)
            trapezoid = torch.full_like(nodes, 2 * 3 / (self.knots - 1))
            trapezoid[0] /= 2
            trapezoid[-1] /= 2
            angles = projected.unsqueeze(-1) * nodes  # (T, B, directions, knots)
            real, imaginary = angles.cos().mean(dim=1), angles.sin().mean(dim=1)
            distance = (real - gaussian).square() + imaginary.square()
            output: Tensor = (distance @ (trapezoid * gaussian)).mean() * latents.shape[1]
            return output
