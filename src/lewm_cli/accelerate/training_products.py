"""Products of a training step on a CPU, where torch's own are slower than they need to be."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lewm_cli.accelerate.packed_linear import onednn_is_faster

LARGE = 2**17
"""Multiply-adds from which oneDNN's product is worth its longer start."""


class TrainingProducts(TorchFunctionMode):
    """While it is entered, linear layers and attention on a CPU are computed by what is fastest there.

    The numbers are those of torch up to rounding, gradients included. Elsewhere than on a CPU nothing changes.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return FASTER.get(function, function)(*args, **(kwargs or {}))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`, in float32 by oneDNN where that is faster."""
    large = x.numel() * len(weight) >= LARGE
    if (
        not large
        or torch.is_autocast_enabled(x.device.type)
        or x.dtype != torch.float32
        or not onednn_is_faster(weight)
    ):
        return F.linear(x, weight, bias)
    product: Tensor = _Product.apply(x, weight, bias)
    return product


def attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **options: Any) -> Tensor:
    """`F.scaled_dot_product_attention`; in bfloat16 as plain products, if nothing is asked beside it.

    On a CPU torch's own takes three times as long then, for long sequences and for short ones.
    """
    if args or options or not query.is_cpu or query.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(query, key, value, *args, **options)
    scores: Tensor = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    return scores.float().softmax(dim=-1).to(value.dtype) @ value


FASTER: dict[Any, Callable[..., Tensor]] = {F.linear: linear, F.scaled_dot_product_attention: attention}
"""What stands in for functions of torch."""


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
            _onednn(rows.t(), x.reshape(-1, x.shape[-1]).t()) if by_weight else None,
            rows.sum(dim=0) if ctx.biased and by_bias else None,
        )


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    # It takes a transposed matrix as it lies, but one with gaps a thousand times slower.
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "none")
    return product
