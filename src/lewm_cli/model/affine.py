"""A matrix product with a bias, into which what is linear around it can be folded."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lewm_cli.model.product import Product


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

    def ready(self, dtype: torch.dtype) -> Product:
        """The same with numbers of its own in a precision, to be computed."""
        bias = None if self.bias is None else self.bias.detach().to(dtype, copy=True)
        return Product(self.weight.detach().to(dtype, copy=True).contiguous(), bias)

    def _of(self, weight: Tensor, shift: Tensor | None) -> Self:
        bias = self.bias if shift is None else F.linear(shift, self.weight, self.bias)
        return type(self)(weight, bias)
