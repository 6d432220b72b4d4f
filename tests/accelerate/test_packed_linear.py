"""Constant matrices multiply as torch's own product does, packed or not."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lewm_cli.accelerate import packed_linear as module
from lewm_cli.accelerate.packed_linear import PackedLinear

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float64: 1e-12}


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(0, 70),
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    dtype=st.sampled_from(sorted(TOLERANCE, key=str)),
    biased=st.booleans(),
    strided=st.booleans(),
    large=st.sampled_from([0, 2**60]),
)
@torch.no_grad()
def test_packed_or_not_it_is_the_same_product(rows, shape, dtype, biased, strided, large):
    generator = torch.Generator().manual_seed(0)
    output, width = shape
    weight = torch.randn(output, width, generator=generator).to(dtype)
    bias = torch.randn(output, generator=generator).to(dtype) if biased else None
    x = torch.randn(2, rows, width * (1 + strided), generator=generator).to(dtype)[..., :: 1 + strided]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LARGE", large)
        if dtype == torch.float32:  # oneDNN multiplies it on any processor
            patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
        product = PackedLinear(weight, bias)
        found, activated = product(x), product.gelu(x)
    expected = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    scale = width**0.5 * TOLERANCE[dtype]
    assert found.dtype == activated.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=TOLERANCE[dtype], atol=scale)
    torch.testing.assert_close(activated.double(), F.gelu(expected), rtol=TOLERANCE[dtype], atol=scale)


def test_a_gradient_is_taken_through_torchs_own_product(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LARGE", 0)
    weight = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    x = torch.ones(3, 7, requires_grad=True)
    PackedLinear(weight, None)(x).sum().backward()
    assert torch.allclose(x.grad, weight.sum(dim=0).expand(3, 7))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")
def test_matrices_are_packed_where_that_is_faster(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not PackedLinear(torch.ones(4, 4), None).packable
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert PackedLinear(torch.ones(4, 4), None).packable
    assert PackedLinear(torch.ones(4, 4, dtype=torch.bfloat16), None).packable
    assert not PackedLinear(torch.ones(4, 4, dtype=torch.float64), None).packable


@torch.no_grad()
def test_nothing_is_packed_for_small_products():
    product = PackedLinear(torch.ones(4, 4), None)
    product(torch.ones(3, 4))
    assert "packed" not in vars(product)
