"""Terms of PLDM and straightness are those of stable_worldmodel in value and gradient, alone and in its network."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_worldmodel.wm import pldm as their_pldm
from stable_worldmodel.wm.loss import PLDMLoss, TemporalStraighteningLoss
from torch import Tensor, nn
from torch.nn import functional as F

from lewm_cli.config import ActionStats, Inputs
from lewm_cli.methods import JEPA, Embedded
from lewm_cli.methods.latent_prediction import straightness
from lewm_cli.methods.pldm import PLDM
from lewm_cli.model import Batch
from theirs import BLOCK_DIM, build_theirs

WEIGHTS = {"std": 18.0, "cov": 12.0, "std_t": 0.7, "cov_t": 0.3, "temp_align": 0.2, "inverse": 0.4}
"""The tuned ones, and some for the terms whose tuned weight is 0."""

TERMS = tuple(name for name in WEIGHTS if name != "inverse")

few = settings(max_examples=20)
shapes = st.tuples(st.integers(2, 9), st.integers(3, 5), st.integers(2, 8))


def latents(shape: tuple[int, int, int], seed: int, scale: float = 1.0) -> Tensor:
    """Latents (B, T, D) whose dimensions are correlated and whose means are not 0."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(shape[-1], shape[-1], generator=generator)
    return scale * (torch.randn(shape, generator=generator) @ mixing + torch.randn(shape[1:], generator=generator))


def clips(z: Tensor, blocks: Tensor | None = None) -> Embedded:
    """A batch of these latents; the terms of PLDM do not see predictions."""
    return Embedded(
        z, torch.zeros_like(z[:, 1:]), blocks if blocks is not None else torch.zeros(*z[:, 1:].shape[:2], 1)
    )


def assert_same(ours: Tensor, theirs: Tensor, mine: Tensor, other: Tensor) -> None:
    """Both values and their gradients by the latents agree to 1e-5."""
    assert torch.isfinite(theirs)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad(value, z)[0] for value, z in ((ours, mine), (theirs, other))]
    scale = gradients[1].abs().max().item()
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5 * max(scale, 1e-3))


@pytest.mark.parametrize("term", TERMS)
@few
@given(shape=shapes, seed=st.integers(0, 2**32), scale=st.sampled_from([0.05, 0.5, 2.0]))
def test_each_term_is_theirs(term: str, shape: tuple[int, int, int], seed: int, scale: float):
    mine, other = (latents(shape, seed, scale).requires_grad_() for _ in range(2))
    only = PLDM.model_validate(dict.fromkeys(WEIGHTS, 0.0) | {term: 1.0})
    ours = only.regularizers(clips(mine), nn.ModuleDict(), None)
    assert ours.keys() == {term}
    assert_same(ours[term].value, PLDMLoss()(other)[f"{term}_loss"], mine, other)


@few
@given(shape=shapes, seed=st.integers(0, 2**32), factor=st.sampled_from([0.1, 1.0]))
def test_weighted_sum_is_theirs(shape: tuple[int, int, int], seed: int, factor: float):
    mine, other = (latents(shape, seed, 0.3).requires_grad_() for _ in range(2))
    weights = {name: WEIGHTS[name] for name in TERMS}
    terms = PLDM.model_validate(weights | {"lambda": factor}).regularizers(clips(mine), nn.ModuleDict(), None)
    ours = torch.stack([term.weight * term.value for term in terms.values()]).sum()
    found = PLDMLoss()(other)
    theirs = torch.stack([factor * weight * found[f"{name}_loss"] for name, weight in weights.items()]).sum()
    assert_same(ours, theirs, mine, other)


@few
@given(shape=shapes, seed=st.integers(0, 2**32))
def test_straightness_is_theirs(shape: tuple[int, int, int], seed: int):
    mine, other = (latents(shape, seed).requires_grad_() for _ in range(2))
    assert_same(straightness(clips(mine)), TemporalStraighteningLoss()(other), mine, other)


def test_default_weights_are_the_tuned_ones():
    weights = PLDM().model_dump(include=set(WEIGHTS))
    assert weights == WEIGHTS | {"cov_t": 0.0, "inverse": 0.0}


def test_whole_objective_agrees_in_value_gradients_and_running_statistics(small_config, scramble):
    ours, network = JEPA(small_config, BLOCK_DIM), build_theirs(small_config)
    scramble(ours)
    network.load_state_dict(ours.state_dict(), strict=True)
    theirs = their_pldm.PLDM(**dict(network.named_children())).train()
    objective = PLDM.model_validate(WEIGHTS | {"straightness": 0.1})
    actions = ActionStats(mean=(0.0, 0.0), std=(1.0, 1.0))
    heads = nn.ModuleDict(objective.heads(small_config, Inputs(task="tworoom", frameskip=5, actions=actions)))
    scramble(heads)
    idm = copy.deepcopy(heads["inverse"])
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(16, 4, 3, small_config.image_size, small_config.image_size, generator=generator)
    blocks = torch.randn(16, 4, BLOCK_DIM, generator=generator)
    loss = objective.loss(ours.train(), heads, Batch(pixels, blocks))
    loss.total.backward()

    info = theirs.encode({"pixels": pixels, "action": blocks})
    z, act_emb = info["emb"], info["act_emb"]
    predicted = theirs.predict(z[:, :-1], act_emb[:, :-1])
    found = PLDMLoss()(z, idm(torch.cat([z[:, 1:], z[:, :-1]], dim=-1)), blocks[:, :-1])
    total = F.mse_loss(predicted, z[:, 1:]) + 0.1 * TemporalStraighteningLoss()(z)
    for name, weight in WEIGHTS.items():
        total = total + weight * found["idm_loss" if name == "inverse" else f"{name}_loss"]
    total.backward()

    torch.testing.assert_close(loss.total, total, rtol=1e-5, atol=1e-5)
    for mine, other in ((ours, theirs), (heads["inverse"], idm)):
        reference = {name: parameter.grad for name, parameter in other.named_parameters()}
        largest = max(gradient.abs().max().item() for gradient in reference.values())
        assert largest > 0.1
        gradients = {name: parameter.grad for name, parameter in mine.named_parameters()}
        torch.testing.assert_close(gradients, reference, rtol=1e-3, atol=1e-5 * largest)
    torch.testing.assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()), rtol=1e-4, atol=1e-5)
