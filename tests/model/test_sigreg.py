"""SIGReg is the plain formula in value and gradient, and makes nothing of size (T, B, directions, knots)."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lewm_cli.model import SIGReg, epps_pulley


def plain(latents: Tensor, knots: int, directions: int, generator: torch.Generator) -> Tensor:
    """The statistic as it is written, in the precision of the latents."""
    drawn = torch.randn(latents.shape[-1], directions, generator=generator)
    projected = latents @ (drawn / drawn.norm(dim=0)).to(latents.dtype)
    nodes = torch.linspace(0, 3, knots, dtype=latents.dtype)
    gaussian = torch.exp(-nodes.square() / 2)
    trapezoid = torch.full_like(nodes, 2 * 3 / (knots - 1))
    trapezoid[0] /= 2
    trapezoid[-1] /= 2
    angles = projected.unsqueeze(-1) * nodes
    distance = (angles.cos().mean(dim=1) - gaussian).square() + angles.sin().mean(dim=1).square()
    return (distance @ (trapezoid * gaussian)).mean() * latents.shape[1]


def numbers() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 6)),
    knots=st.integers(2, 33),
    scale=st.sampled_from([1e-4, 0.1, 1.0, 30.0]),
    seed=st.integers(0, 2**32),
)
def test_value_and_gradient_are_those_of_the_plain_formula(shape, knots, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    latents = (scale * (0.3 + torch.randn(shape, generator=generator))).requires_grad_()
    exact = latents.detach().double().requires_grad_()
    found, expected = SIGReg(knots, 24)(latents, numbers()), plain(exact, knots, 24, numbers())
    (gradient,), (correct,) = torch.autograd.grad(3 * found, latents), torch.autograd.grad(3 * expected, exact)
    # An angle of 3 times 30 is itself only known to the last bits of 90.
    precision = 1e-5 * max(1.0, scale)
    assert found.dtype == gradient.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=precision)
    size = max(correct.abs().max().item(), 1e-2)
    torch.testing.assert_close(gradient.double(), correct, rtol=0, atol=precision * size)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_it_is_float32_under_autocast(dtype: torch.dtype):
    latents = torch.randn(2, 64, 8, generator=numbers()).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = SIGReg(17, 32)(latents, numbers())
    found.backward()
    assert found.dtype == torch.float32
    assert latents.grad.dtype == dtype
    assert found.item() == pytest.approx(plain(latents.detach().float(), 17, 32, numbers()).item(), rel=1e-5)


def test_it_says_when_latents_are_not_finite():
    latents = torch.randn(2, 4, 3, generator=numbers())
    latents[1, 2, 0] = math.nan
    assert math.isnan(SIGReg(17, 8)(latents, numbers()).item())


def test_it_compiles():
    latents = torch.randn(2, 16, 8, generator=numbers()).requires_grad_()
    sigreg = SIGReg(5, 16)
    found = []
    for call in (sigreg.__call__, torch.compile(sigreg.__call__, backend="aot_eager", fullgraph=True)):
        torch.manual_seed(1)
        value = call(latents)
        found.append((value, *torch.autograd.grad(value, latents)))
    torch.testing.assert_close(found[1], found[0])


class Largest(TorchDispatchMode):
    """Notes the most bytes that one tensor has."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        sizes = [leaf.untyped_storage().nbytes() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.bytes = max([self.bytes, *sizes])
        return result


def test_memory_does_not_grow_with_the_nodes():
    latents = torch.randn(2, 64, 8, generator=numbers()).requires_grad_()
    projected = 4 * 2 * 64 * 128  # bytes
    with Largest() as largest:
        SIGReg(33, 128)(latents, numbers()).backward()
    assert largest.bytes <= 2 * projected


def test_statistic_of_each_direction_has_their_mean():
    latents = torch.randn(3, 20, 5, generator=numbers())
    drawn = torch.randn(5, 24, generator=numbers())
    each = epps_pulley(latents @ (drawn / drawn.norm(dim=0)))
    assert each.shape == (3, 24)
    assert each.mean().item() == pytest.approx(SIGReg(17, 24)(latents, numbers()).item(), rel=1e-6)
    alone = plain(latents[1:2].double() @ (drawn / drawn.norm(dim=0))[:, 6:7].double(), 17, 1, numbers())
    assert each[1, 6].item() == pytest.approx(alone.item(), rel=1e-4)
