"""A matrix product with a bias, into which what is linear around it can be folded."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lewm_cli.accelerate.packed_linear import PackedLinear


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
        """Take the weights of a linear layer."""
        assert isinstance(layer, nn.Linear)
        return cls(layer.weight, layer.bias)

    def after(self, first: "Affine") -> Self:
        """Compose: this product of the output of another."""
        return self._of(self.weight @ first.weight, first.bias)

    def after_norm(self, norm: nn.Module) -> Self:
        """Fold in the scale and shift of a LayerNorm before it; its input is then only normalized."""
        assert isinstance(norm, nn.LayerNorm)
        return self._of(self.weight * norm.weight, norm.bias)

    def before_norm(self, norm: nn.Module) -> Self:
        """Fold in a BatchNorm in eval mode after it."""
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
        return type(self)(self.weight * scale[:, None], shift if self.bias is None else self.bias * scale + shift)

    def pack(self, dtype: torch.dtype) -> PackedLinear:
        """Copy the weights in a precision, ready to multiply."""
        bias = None if self.bias is None else self.bias.detach().to(dtype, copy=True)
        return PackedLinear(self.weight.detach().to(dtype, copy=True).contiguous(), bias)

    def _of(self, weight: Tensor, shift: Tensor | None) -> Self:
        bias = self.bias if shift is None else F.linear(shift, self.weight, self.bias)
        return type(self)(weight, bias)
