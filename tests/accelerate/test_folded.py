"""The fast rollout: what is folded, kept and left out changes nothing that comes out of the plain one."""

import copy
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lewm_cli.accelerate import fastest_dtype
from lewm_cli.accelerate import folded as module
from lewm_cli.accelerate.packed_linear import PackedLinear
from lewm_cli.config import ModelConfig
from lewm_cli.methods import JEPA
from lewm_cli.model import rollout
from lewm_cli.plan import LatentCost

BLOCK_DIM = 10

HISTORIES = (1, 2, 3, 5)


@pytest.fixture(scope="module")
def models(small_config, scramble) -> dict[str, JEPA]:
    """By size: tokens shorter than a head, as long, longer, wider than the latents, and the release's."""
    parts = small_config.predictor
    sizes = {f"history {length}": small_config.model_copy(update={"history": length}) for length in HISTORIES}
    for name, changed in (
        ("as long", {"head_dim": 8}),
        ("longer", {"head_dim": 5, "heads": 3}),
        ("wide", {"width": 48, "head_dim": 16}),
        ("one block", {"depth": 1}),
    ):
        sizes[name] = small_config.model_copy(update={"predictor": parts.model_copy(update=changed)})
    sizes["release"] = ModelConfig()
    return {name: scramble(JEPA(config, BLOCK_DIM)).eval() for name, config in sizes.items()}


def drawn(model: JEPA, sequences: int, context: int, steps: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Context latents and action blocks."""
    generator = torch.Generator().manual_seed(seed)
    emb = torch.randn(sequences, context, model.config.latent, generator=generator)
    return emb, torch.randn(sequences, steps, BLOCK_DIM, generator=generator)


def assert_same(found: Tensor, expected: Tensor, tolerance: float = 2e-5) -> None:
    """To a part of the largest value, which must be there for the comparison to mean anything."""
    assert found.shape == expected.shape
    scale = expected.abs().max().item()
    assert scale > 1e-3
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)


@torch.no_grad()
@pytest.mark.parametrize("history", HISTORIES)
def test_imagined_is_what_is_predicted_window_by_window(models, history: int):
    model = models[f"history {history}"]
    imagine = model.imaginer()
    for context, horizon in itertools.product(range(1, history + 1), range(1, 9)):
        emb, blocks = drawn(model, 6, context, context + horizon - 1, seed=horizon)
        assert_same(imagine(emb, blocks), rollout(model, emb, blocks))


@torch.no_grad()
@pytest.mark.parametrize("history", [1, 2, 3])
def test_fewer_steps_are_looked_back_at_if_that_is_asked_for(models, history: int):
    model = models["history 3"]
    emb, blocks = drawn(model, 6, 1, 5)
    imagined = model.imaginer(history=history)(emb, blocks)
    assert_same(imagined, rollout(model, emb, blocks, history))
    assert torch.allclose(imagined, rollout(model, emb, blocks), atol=1e-4) == (history == 3)


@torch.no_grad()
@pytest.mark.parametrize("size", ["as long", "longer", "wide", "one block", "release"])
def test_imagined_is_what_is_predicted_whatever_the_sizes(models, size: str):
    model = models[size]
    imagine = model.imaginer()
    for context, steps in ((1, 1), (1, 5), (3, 5)):
        emb, blocks = drawn(model, 5, context, steps)
        assert_same(imagine(emb, blocks), rollout(model, emb, blocks))


@torch.no_grad()
@settings(max_examples=30)
@given(sequences=st.integers(1, 12), context=st.integers(1, 3), later=st.integers(0, 6), at_once=st.integers(1, 13))
def test_parts_give_what_the_whole_gives(models, sequences: int, context: int, later: int, at_once: int):
    model = models["history 3"]
    emb, blocks = drawn(model, sequences, context, context + later)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(module.AT_ONCE, "cpu", at_once)
        assert_same(model.imaginer()(emb, blocks), rollout(model, emb, blocks))


@torch.no_grad()
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")
def test_large_products_are_as_exact(models, monkeypatch):
    """oneDNN can multiply float32 on any processor; the package uses it on those with AVX-512."""
    model = models["release"]
    emb, blocks = drawn(model, 40, 1, 4)
    few = torch.cat([rollout(model, emb[i : i + 1], blocks[i : i + 1]) for i in (0, 17, 39)])
    onednn, shapes = PackedLinear._onednn, []
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(PackedLinear, "_onednn", lambda self, x, then: shapes.append(x.shape) or onednn(self, x, then))
    assert_same(model.imaginer()(emb, blocks)[[0, 17, 39]], few)
    assert shapes, "no product was large"


@pytest.mark.parametrize("size", ["history 3", "longer", "wide", "release"])
def test_gradients_are_those_of_the_windows(models, size: str):
    model = models[size]
    emb, blocks = drawn(model, 3, 1, 5)
    gradients = []
    for imagine in (model.imaginer(), lambda *given: rollout(model, *given)):
        inputs = emb.clone().requires_grad_(), blocks.clone().requires_grad_()
        reached = imagine(*inputs)[:, -1].square().sum()
        gradients.append(torch.autograd.grad(reached, inputs))
    for found, expected in zip(*gradients, strict=True):
        assert_same(found, expected, 1e-4)


@torch.no_grad()
def test_half_the_precision_is_near(models):
    for size in ("history 3", "release"):
        emb, blocks = drawn(models[size], 40, 1, 5)
        exact, near = (models[size].imaginer(dtype)(emb, blocks) for dtype in (torch.float32, torch.bfloat16))
        assert near.dtype == torch.float32
        apart = (exact - near)[:, 1:].square().mean().sqrt() / exact[:, 1:].std()
        assert 1e-5 < apart < 0.03


@pytest.mark.parametrize(
    ("exact", "half", "chosen"),
    [(0.03, 0.01, torch.bfloat16), (0.01, 0.03, torch.float32), (0.02, 0.019, torch.float32)],
)
def test_half_the_precision_is_taken_where_it_is_clearly_faster(models, monkeypatch, exact, half, chosen):
    seconds = {torch.float32: exact, torch.bfloat16: half}
    monkeypatch.setattr(JEPA, "imaginer", lambda model, dtype: dtype)
    monkeypatch.setattr("lewm_cli.accelerate.precision._seconds", lambda dtype, emb, blocks: seconds[dtype])
    assert fastest_dtype(models["history 3"]) == chosen


def test_precision_is_chosen_by_imagining(models):
    assert fastest_dtype(models["history 3"]) in (torch.float32, torch.bfloat16)


@torch.no_grad()
def test_imaginer_keeps_to_the_weights_it_was_made_of(models):
    model = copy.deepcopy(models["history 3"])
    emb, blocks = drawn(model, 4, 1, 5)
    imagine = model.imaginer()
    before = imagine(emb, blocks)
    model.predictor.pos_embedding.add_(1.0)
    model.pred_proj.net[1].running_mean.add_(1.0)
    for parameter in model.parameters():
        parameter.mul_(1.5)
    assert torch.equal(imagine(emb, blocks), before)
    after = model.imaginer()(emb, blocks)
    assert (after - before).abs().max() > 0.1
    assert_same(after, rollout(model, emb, blocks))


def test_cost_is_that_of_the_last_latent_for_every_environment(models):
    model = models["history 3"]
    start, goal = drawn(model, 3, 1, 1)[0], torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    candidates = torch.randn(3, 7, 5, BLOCK_DIM, generator=torch.Generator().manual_seed(2))
    cost = LatentCost(model, start, goal)
    together = cost(candidates)
    assert not together.requires_grad, "weights need no gradient"
    for number in range(3):
        reached = rollout(model, start[[number] * 7], candidates[number])[:, -1]
        expected = (reached - goal[number]).square().sum(dim=1)
        torch.testing.assert_close(together[number], expected, rtol=1e-4, atol=1e-4)
        alone = cost.of(number)(candidates[number : number + 1])
        torch.testing.assert_close(alone[0], together[number], rtol=1e-4, atol=1e-4)


def test_cost_made_while_inferring_can_be_differentiated(models):
    model = models["history 3"]
    with torch.inference_mode():
        frames = torch.randn(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
        start, goal = model.embed(frames), model.embed(frames.flip(0))[:, 0]
        cost = LatentCost(model, start, goal)
    candidates = torch.randn(2, 4, 5, BLOCK_DIM, generator=torch.Generator().manual_seed(4)).requires_grad_()
    for _ in range(2):  # the second time, too
        (gradient,) = torch.autograd.grad(cost(candidates).sum(), candidates)
    step = 1e-3 * gradient / gradient.norm()
    with torch.inference_mode():
        lower, higher = cost(candidates - step).sum(), cost(candidates + step).sum()
    assert (higher - lower).item() / 2e-3 == pytest.approx(gradient.norm().item(), rel=0.05)
