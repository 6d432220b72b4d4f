"""Linear layers and attention that a CPU trains faster with than with torch's own; elsewhere they are torch's own."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

LARGE = 2**17
"""Multiply-adds from which oneDNN's product is worth its longer start."""


class Linear(nn.Linear):
    """A linear layer that is trained by the product that is fastest."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., input) to (..., output)."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`; for a gradient in float32 by oneDNN, on a CPU where that is faster."""
    fast = (
        torch.is_grad_enabled()
        and not torch.compiler.is_compiling()  # first: sizes of what is compiled or exported may not be asked for
        and not torch.is_autocast_enabled("cpu")
        and weight.is_cpu
        and x.dtype == weight.dtype == torch.float32
        and x.numel() * len(weight) >= LARGE
        and onednn_is_faster(weight)
    )
    if not fast:
        return F.linear(x, weight, bias)
    return _Product.apply(x, weight, bias)


def onednn_is_faster(weight: Tensor) -> bool:
    """True where oneDNN multiplies large products with a matrix on a CPU faster than torch itself."""
    # torch multiplies float32 with MKL, which leaves half of a processor idle that has AVX-512 and is not Intel's,
    # and packs a matrix anew for every product in bfloat16.
    return (
        weight.is_cpu
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and all(hasattr(torch.ops.mkldnn, op) for op in ("_linear_pointwise", "_reorder_linear_weight"))  # private
    )


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`F.scaled_dot_product_attention`; for a gradient in bfloat16 on a CPU as plain products.

    There torch's own takes three times as long, for long sequences and for short ones.
    """
    if not query.is_cpu or query.dtype != torch.bfloat16 or not query.requires_grad:
        return F.scaled_dot_product_attention(query, key, value)
    scores: Tensor = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    return scores.float().softmax(dim=-1).to(value.dtype) @ value


class _Product(torch.autograd.Function):
    """The product x to weight @ x + bias by oneDNN, which has no gradient of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(..., input) to (..., output)."""
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return _onednn(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The gradients that are asked for."""
        x, weight = ctx.saved_tensors
        rows = gradient.reshape(-1, gradient.shape[-1]).contiguous()
        by_x, by_weight, by_bias = ctx.needs_input_grad
        return (
            _onednn(rows, weight.t()).view(x.shape) if by_x else None,
            _outer(rows, x.reshape(-1, x.shape[-1])) if by_weight else None,
            rows.sum(dim=0) if ctx.biased and by_bias else None,
        )


def _outer(rows: Tensor, inputs: Tensor) -> Tensor:
    """The product (output, input) of (N, output) transposed with (N, input)."""
    # oneDNN copies the first of two transposed matrices, so that is the smaller one.
    if rows.shape[1] <= inputs.shape[1]:
        return _onednn(rows.t(), inputs.t())
    return _onednn(inputs.t(), rows.t()).t().contiguous()


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    # It takes a transposed matrix as it lies, but one with gaps a thousand times slower.
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "none")
