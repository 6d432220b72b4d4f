"""A matrix product with a bias, into which what is linear around it can be folded."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LARGE = 2**19
"""Multiply-adds from which oneDNN's product is worth its longer start."""


@dataclass(frozen=True)
class Affine:
    """x to weight @ x + bias.

    Args:
        weight: (output, input)
        bias: (output,), or None for zero.
    """

    weight: Tensor
    bias: Tensor | None = None

    @classmethod
    def of(cls, layer: nn.Module) -> Self:
        """What a linear layer computes."""
        assert isinstance(layer, nn.Linear)
        return cls(layer.weight, layer.bias)

    def after(self, first: "Affine") -> Self:
        """The same of what another gives."""
        return self._of(self.weight @ first.weight, first.bias)

    def after_norm(self, norm: nn.Module) -> Self:
        """The same of what has been normalized by a LayerNorm, and is yet to be scaled and shifted."""
        assert isinstance(norm, nn.LayerNorm)
        return self._of(self.weight * norm.weight, norm.bias)

    def before_norm(self, norm: nn.Module) -> Self:
        """What a BatchNorm in eval mode makes of the output."""
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
        return type(self)(self.weight * scale[:, None], shift if self.bias is None else self.bias * scale + shift)

    def ready(self, dtype: torch.dtype) -> Self:
        """The same with constant numbers in a precision."""
        bias = None if self.bias is None else self.bias.detach().to(dtype)
        return type(self)(self.weight.detach().to(dtype).contiguous(), bias)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., input) to (..., output) in the precision of the matrix."""
        x = x.to(self.weight.dtype)
        return self._onednn(x, "none") if self._is_large_for(x) else F.linear(x, self.weight, self.bias)

    def gelu(self, x: Tensor) -> Tensor:
        """The exact GELU of the product."""
        x = x.to(self.weight.dtype)
        return self._onednn(x, "gelu") if self._is_large_for(x) else F.gelu(F.linear(x, self.weight, self.bias))

    def _of(self, weight: Tensor, shift: Tensor | None) -> Self:
        bias = self.bias if shift is None else F.linear(shift, self.weight, self.bias)
        return type(self)(weight, bias)

    def _is_large_for(self, x: Tensor) -> bool:
        # By rule and not by a clock: two runs must make the same plans, to the last bit.
        return x.numel() * len(self.weight) >= LARGE and x.dtype == torch.float32 and _onednn_is_faster(x)

    def _onednn(self, x: Tensor, then: str) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, then, [], "none")
        return product


def _onednn_is_faster(x: Tensor) -> bool:
    # torch multiplies float32 with MKL, which leaves half of a processor idle that has AVX-512 and is not Intel's;
    # oneDNN does not, but has no gradient.
    return (
        x.is_cpu
        and not torch.is_grad_enabled()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # torch promises nothing of it
    )
