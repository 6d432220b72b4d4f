"""Products that training is faster with are those of torch in value and gradient."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from lewm_cli.methods import JEPA
from lewm_cli.methods.lewm import LeWM
from lewm_cli.model import Batch, VisionTransformer
from lewm_cli.model import products as module
from lewm_cli.model.products import Linear, attention, linear

BLOCK_DIM = 10


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Products that oneDNN computes; it is asked for all in float32, on any processor."""
    made: list[Tensor] = []
    plain = module._onednn

    def counted(*arguments: Tensor) -> Tensor:
        made.append(plain(*arguments))
        return made[-1]

    monkeypatch.setattr(module, "_onednn", counted)
    monkeypatch.setattr(module, "LARGE", 0)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    return made


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")
@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 40),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    biased=st.booleans(),
    gaps=st.sampled_from([1, 3]),
    asked=st.booleans(),
)
def test_linear_layers_agree_in_value_and_gradients(rows, shape, biased, gaps, asked):
    output, width = shape
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, rows * gaps, width, generator=generator)[:, ::gaps].requires_grad_(asked)
    weight = torch.randn(output, width, generator=generator).requires_grad_()
    bias = torch.randn(output, generator=generator).requires_grad_() if biased else None
    # Rows of the gradient are equal: expanded, as after a mean.
    inputs = [tensor for tensor in (x, weight, bias) if tensor is not None and tensor.requires_grad]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LARGE", 0)
        patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
        found = linear(x, weight, bias)
        assert type(found.grad_fn).__name__ == "_ProductBackward"
        found_gradients = torch.autograd.grad(found.mean(), inputs)
    exact = [None if tensor is None else tensor.detach().double().requires_grad_() for tensor in (x, weight, bias)]
    expected = F.linear(*exact)
    scale = 1e-5 * width**0.5
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=scale)
    wanted = [
        one for one, given in zip(exact, (x, weight, bias), strict=True) if given is not None and given.requires_grad
    ]
    for mine, correct in zip(found_gradients, torch.autograd.grad(expected.mean(), wanted), strict=True):
        torch.testing.assert_close(mine.double(), correct, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("capability", ["AVX2", "DEFAULT"])
def test_other_processors_keep_torchs_own_product(
    calls: list[Tensor], monkeypatch: pytest.MonkeyPatch, capability: str
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    layer, x = Linear(8, 8), torch.randn(4, 8)
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    assert not calls


def test_autocast_other_precisions_and_mere_values_are_left_to_torch(calls: list[Tensor]):
    layer, x = Linear(8, 8), torch.randn(4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with torch.no_grad():
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    assert layer.double()(x.double()).dtype == torch.float64
    assert not calls


@pytest.mark.parametrize("tokens", [(5, 5), (1, 7)])
def test_attention_in_bfloat16_agrees(tokens: tuple[int, int]):
    generator = torch.Generator().manual_seed(0)
    asking, seen = ((3, 2, count, 8) for count in tokens)
    parts = [torch.randn(shape, generator=generator).bfloat16().requires_grad_() for shape in (asking, seen, seen)]
    exact = [part.detach().double().requires_grad_() for part in parts]
    found = attention(*parts)
    expected = F.scaled_dot_product_attention(*exact)
    assert "Attention" not in type(found.grad_fn).__name__
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=0.03)
    weights = torch.randn(asking, generator=generator)
    for mine, correct in zip(
        torch.autograd.grad((found * weights).sum(), parts),
        torch.autograd.grad((expected * weights).sum(), exact),
        strict=True,
    ):
        torch.testing.assert_close(mine.double(), correct, rtol=0, atol=0.03 * correct.abs().max().item() + 0.03)


@pytest.mark.parametrize(("dtype", "asked"), [(torch.float32, True), (torch.bfloat16, False)])
def test_other_attention_is_left_to_torch(dtype: torch.dtype, asked: bool):
    parts = [torch.randn(2, 2, 5, 8).to(dtype).requires_grad_(asked) for _ in range(3)]
    assert torch.equal(attention(*parts), F.scaled_dot_product_attention(*parts))


def test_checkpointed_layers_are_computed_again_in_the_same_way(calls: list[Tensor], small_config, scramble):
    encoder = scramble(VisionTransformer(small_config.encoder, small_config.image_size))
    pixels = torch.randn(2, 3, small_config.image_size, small_config.image_size)
    gradients, made = [], []
    for again in (False, True):
        encoder.checkpointing = again
        encoder.zero_grad()
        calls.clear()
        encoder(pixels).square().mean().backward()
        gradients.append([parameter.grad for parameter in encoder.parameters()])
        made.append(len(calls))
    assert made[1] > made[0] > 0
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_twenty_steps_give_the_same_losses(calls: list[Tensor], monkeypatch, small_config, scramble):
    plain = scramble(JEPA(small_config, BLOCK_DIM)).train()
    fast, generator = copy.deepcopy(plain), torch.Generator().manual_seed(1)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-4) for model in (plain, fast)]
    size = small_config.image_size
    for step in range(20):
        pixels = torch.randn(6, 4, 3, size, size, generator=generator)
        batch, losses = Batch(pixels, torch.randn(6, 4, BLOCK_DIM, generator=generator)), []
        for model, optimizer, capability in zip((plain, fast), optimizers, ("AVX2", "AVX512"), strict=True):
            monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
            before = len(calls)
            torch.manual_seed(step)
            optimizer.zero_grad()
            loss = LeWM(projections=64).loss(model, nn.ModuleDict(), batch).total
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            assert (len(calls) > before + 30) == (capability == "AVX512")
        assert losses[1] == pytest.approx(losses[0], abs=1e-4)
