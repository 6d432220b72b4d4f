"""SIGReg: the distance of a batch of latents from an isotropic Gaussian, seen through random directions."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

END = 3.0
"""Characteristic functions are compared from 0 to here."""


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
            return _Statistic.apply(projected, self.knots)


def epps_pulley(projected: Tensor, knots: int = SIGReg.knots) -> Tensor:
    """The statistic of each direction, whose mean is what `SIGReg` minimizes.

    Of samples of a standard Gaussian its expectation is 1.05, however many they are; of others it grows with them.
    Source: Epps and Pulley, Biometrika 70(3), 1983, with this weight and these nodes.

    Args:
        projected: samples (T, B, directions).
        knots: integration nodes, as in `SIGReg`.

    Returns:
        (T, directions)
    """
    _, distance, _, weights = _compare(projected, knots)
    return distance.square().sum(dim=2) @ weights * projected.shape[1]


def _compare(projected: Tensor, knots: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compares characteristic functions.

    Returns:
        exp(i t x) of samples (T, B, directions) at the first node, the differences (T, directions, real and imaginary,
        nodes), the nodes but 0, and their weights.
    """
    spacing = END / (knots - 1)
    nodes = spacing * torch.arange(1, knots, device=projected.device)  # at 0 both functions are 1
    gaussian = torch.exp(-nodes.square() / 2)
    weights = 2 * spacing * gaussian
    weights[-1] /= 2
    turn = torch.polar(torch.ones_like(projected), spacing * projected)
    means, power = [torch.view_as_real(turn).mean(dim=1)], turn.clone()
    for _ in range(knots - 2):
        power *= turn
        means.append(torch.view_as_real(power).mean(dim=1))
    distance = torch.stack(means, dim=-1)  # (T, directions, real and imaginary, nodes)
    distance[..., 0, :] -= gaussian
    return turn, distance, nodes, weights


class _Statistic(torch.autograd.Function):
    """The mean statistic of projected samples (T, B, directions).

    Nodes are equally spaced, so exp(i t x) at the k-th is the k-th power of one number for each sample: a product per
    node instead of a cosine and a sine, and nothing of size (T, B, directions, knots), in neither direction. The
    gradient by a sample is a polynomial in its number.
    """

    @staticmethod
    def forward(ctx: Any, projected: Tensor, knots: int) -> Tensor:
        """The statistic; a scalar."""
        turn, distance, nodes, weights = _compare(projected, knots)
        ctx.save_for_backward(turn, distance * (weights * nodes))
        return (distance.square().sum(dim=2) @ weights).mean() * projected.shape[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """The gradient by the samples, with Horner's rule."""
        turn, distance = ctx.saved_tensors
        # d cos(tx) = -t sin(tx) dx and d sin(tx) = t cos(tx) dx, so conjugate coefficients give minus the gradient.
        scale = 2 * gradient / (turn.shape[0] * turn.shape[2])
        coefficients = torch.complex(scale * distance[:, :, 0], -scale * distance[:, :, 1]).unsqueeze(1)
        last, *others = reversed(coefficients.unbind(dim=-1))
        total = last * turn
        for coefficient in others:
            total += coefficient
            total *= turn
        return -total.imag, None
