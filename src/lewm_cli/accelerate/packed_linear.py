"""A linear layer with constant weights: its neighbors folded in, and packed for what multiplies fastest here."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lewm_cli.model import onednn_is_faster

LARGE = 2**19
"""Multiply-adds from which oneDNN's product is worth its longer start."""

ROWS = 512
"""Rows of the input that weights are packed for; other numbers are multiplied as well."""


@dataclass(frozen=True)
class PackedLinear:
    """x to weight @ x + bias.

    Args:
        weight: (output, input), constant.
        bias: (output,), or None for zero.
    """

    weight: Tensor
    bias: Tensor | None = None

    @classmethod
    def of(cls, layer: nn.Module) -> "PackedLinear":
        """Take the weights of a linear layer, as they are."""
        assert isinstance(layer, nn.Linear)
        return cls(layer.weight, layer.bias)

    def after(self, first: "PackedLinear") -> "PackedLinear":
        """Fold in another product before it."""
        assert first.bias is not None
        return PackedLinear(self.weight @ first.weight, F.linear(first.bias, self.weight, self.bias))

    def after_norm(self, norm: nn.Module) -> "PackedLinear":
        """Fold in the scale and shift of a LayerNorm before it; its input is then only normalized."""
        assert isinstance(norm, nn.LayerNorm)
        return PackedLinear(self.weight * norm.weight, F.linear(norm.bias, self.weight, self.bias))

    def before_norm(self, norm: nn.Module) -> "PackedLinear":
        """Fold in a BatchNorm in eval mode after it."""
        assert isinstance(norm, nn.BatchNorm1d)
        assert self.bias is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
        return PackedLinear(self.weight * scale[:, None], self.bias * scale + shift)

    def copy(self, dtype: torch.dtype) -> "PackedLinear":
        """Copy the weights in a precision."""
        bias = None if self.bias is None else self.bias.detach().to(dtype, copy=True)
        return PackedLinear(self.weight.detach().to(dtype, copy=True).contiguous(), bias)

    @cached_property
    def packable(self) -> bool:
        """True where oneDNN multiplies large products faster than torch itself."""
        return self.weight.dtype in (torch.float32, torch.bfloat16) and onednn_is_faster(self.weight)

    @cached_property
    def packed(self) -> Tensor:
        """The weight in oneDNN's layout; made when it is first needed, for that takes time."""
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(self.weight, ROWS)
        return packed

    def __call__(self, x: Tensor) -> Tensor:
        """(..., input) to (..., output) in the precision of the matrix."""
        x = x.to(self.weight.dtype)
        return self._onednn(x, "none") if self._is_large_for(x) else F.linear(x, self.weight, self.bias)

    def gelu(self, x: Tensor) -> Tensor:
        """The exact GELU of the product."""
        x = x.to(self.weight.dtype)
        return self._onednn(x, "gelu") if self._is_large_for(x) else F.gelu(F.linear(x, self.weight, self.bias))

    def _is_large_for(self, x: Tensor) -> bool:
        # By rule and not by a clock: two runs must make the same plans, to the last bit. oneDNN has no gradient.
        return self.packable and x.numel() * len(self.weight) >= LARGE and not torch.is_grad_enabled()

    def _onednn(self, x: Tensor, then: str) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, then, [], "none")
        return product
