"""SIGReg: how far a batch of latents is from an isotropic Gaussian, seen through random directions."""

import torch
from torch import Tensor, nn


class SIGReg(nn.Module):
    """Sketched isotropic Gaussian regularizer (LeJEPA, arXiv 2511.08544; facts of the released LeWM objective).

    Along each random unit direction the empirical characteristic function of the batch is compared with that of
    a standard Gaussian, exp(-t^2 / 2), at nodes on [0, 3]. The squared difference is integrated by the
    trapezoid rule with weight exp(-t^2 / 2), doubled for the symmetric half and multiplied by the batch size,
    which makes it a test statistic: about 1 when the latents are Gaussian, whatever the batch.

    Args:
        knots: integration nodes on [0, 3], both ends included.
        num_proj: directions drawn at each call.
    """

    nodes: Tensor
    gaussian: Tensor
    weights: Tensor

    def __init__(self, knots: int = 17, num_proj: int = 1024) -> None:
        super().__init__()
        self.num_proj = num_proj
        nodes = torch.linspace(0, 3, knots)
        gaussian = torch.exp(-nodes.square() / 2)
        trapezoid = torch.full((knots,), 2 * 3 / (knots - 1))
        trapezoid[[0, -1]] /= 2
        self.register_buffer("nodes", nodes, persistent=False)
        self.register_buffer("gaussian", gaussian, persistent=False)
        self.register_buffer("weights", trapezoid * gaussian, persistent=False)

    def forward(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The statistic, averaged over directions and time steps; always computed in float32.

        Args:
            latents: (T, B, D)
            generator: what directions are drawn from; torch's global one if not given.

        Returns:
            scalar
        """
        with torch.autocast(latents.device.type, enabled=False):
            directions = torch.randn(latents.shape[-1], self.num_proj, device=latents.device, generator=generator)
            projected = latents.float() @ (directions / directions.norm(dim=0))  # (T, B, directions)
            angles = projected.unsqueeze(-1) * self.nodes  # (T, B, directions, knots)
            real, imaginary = angles.cos().mean(dim=1), angles.sin().mean(dim=1)
            distance = (real - self.gaussian).square() + imaginary.square()
            statistic: Tensor = (distance @ self.weights).mean() * latents.shape[1]
            return statistic
