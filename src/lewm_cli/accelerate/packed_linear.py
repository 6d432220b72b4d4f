"""A linear layer with constant weights, packed for the library that multiplies fastest here."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

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
    bias: Tensor | None

    @cached_property
    def packable(self) -> bool:
        """True where oneDNN multiplies large products faster than torch itself."""
        return _onednn_is_faster(self.weight)

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


def _onednn_is_faster(weight: Tensor) -> bool:
    # torch multiplies float32 with MKL, which leaves half of a processor idle that has AVX-512 and is not Intel's, and
    # packs a matrix anew for every product in bfloat16.
    return (
        weight.is_cpu
        and weight.dtype in (torch.float32, torch.bfloat16)
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and all(hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight"))  # private
    )
