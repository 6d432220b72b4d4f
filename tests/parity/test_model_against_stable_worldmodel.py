"""Our LeWM computes what stable_worldmodel's LeWM around a transformers ViT computes with the same weights."""

import copy
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_worldmodel.policy import PlanConfig
from stable_worldmodel.solver.cem import CEMSolver
from stable_worldmodel.wm.loss import SIGReg as TheirSIGReg
from torch import Tensor, nn
from torch.nn import functional as F

from lewm_cli.config import ModelConfig
from lewm_cli.methods import JEPA
from lewm_cli.methods.lewm import LeWM
from lewm_cli.model import Batch, SIGReg
from lewm_cli.store.keys import released_key
from theirs import BLOCK_DIM, build_theirs

RELEASED_KEYS = Path(__file__).parent / "released_keys.txt"


@pytest.fixture(scope="module")
def pairs(small_config, scramble):
    """Our model and theirs with the same scrambled weights, in eval mode, by size."""
    wider = small_config.predictor.model_copy(update={"width": 48})
    sizes = {
        "release": ModelConfig(),
        "small": small_config,
        "wide predictor": small_config.model_copy(update={"predictor": wider}),
    }
    built = {}
    for size, config in sizes.items():
        ours, theirs = JEPA(config, BLOCK_DIM), build_theirs(config)
        scramble(ours)
        theirs.load_state_dict(ours.state_dict(), strict=True)
        built[size] = ours.eval(), theirs.eval()
    return built


@pytest.fixture(params=["release", "small", "wide predictor"])
def pair(request, pairs):
    return pairs[request.param]


@pytest.fixture
def small_pair(pairs):
    return pairs["small"]


def frames(model: JEPA, *shape: int, seed: int = 1) -> Tensor:
    size = model.config.image_size
    return torch.randn(*shape, 3, size, size, generator=torch.Generator().manual_seed(seed))


def blocks(*shape: int, seed: int = 2) -> Tensor:
    return torch.randn(*shape, BLOCK_DIM, generator=torch.Generator().manual_seed(seed))


def for_candidates(per_environment: Tensor, candidates: int) -> Tensor:
    """(B, ...) to (B, S, ...), as a solver expands its info."""
    return per_environment.unsqueeze(1).expand(-1, candidates, *per_environment.shape[1:])


def planning_info(model: JEPA, environments: int, candidates: int, context: int = 1) -> dict[str, Any]:
    return {
        "pixels": for_candidates(frames(model, environments, context, seed=3), candidates),
        "goal": for_candidates(frames(model, environments, 1, seed=4), candidates),
        "action": for_candidates(blocks(environments, context, seed=5), candidates),
    }


def assert_agree(ours: Tensor, theirs: Tensor) -> None:
    """To 1e-4 of the largest value, which must be there for the comparison to mean anything."""
    assert ours.shape == theirs.shape
    scale = theirs.abs().max().item()
    assert scale > 1e-3
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * min(1.0, scale))


@torch.no_grad()
def test_encode_agrees(pair):
    ours, theirs = pair
    info = {"pixels": frames(ours, 2, 2), "action": blocks(2, 2)}
    mine, other = ours.encode(dict(info)), theirs.encode(dict(info))
    assert_agree(mine["emb"], other["emb"])
    assert_agree(mine["act_emb"], other["act_emb"])


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_predict_agrees_for_every_window_length(pair, steps):
    ours, theirs = pair
    emb, act_emb = torch.randn(2, 4, steps, ours.config.latent, generator=torch.Generator().manual_seed(6))
    assert_agree(ours.predict(emb, act_emb), theirs.predict(emb, act_emb))


@torch.no_grad()
@pytest.mark.parametrize("context", [1, 3])
def test_rollout_and_cost_agree_for_one_environment(pair, context):
    ours, theirs = pair
    candidates = blocks(1, 6, context + 4)  # the last context frame and four more: five steps imagined
    mine, other = planning_info(ours, 1, 6, context), planning_info(ours, 1, 6, context)
    their_cost = theirs.get_cost(other, candidates)
    our_cost = ours.get_cost(mine, candidates)
    assert mine["predicted_emb"].shape[2] == context + 5
    assert_agree(mine["predicted_emb"], other["predicted_emb"])
    torch.testing.assert_close(our_cost, their_cost, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("environments", "candidates"), [(2, 8), (4, 4)])
def test_cost_of_several_environments_is_that_of_each_alone(small_pair, environments, candidates):
    model, _ = small_pair
    info, actions = planning_info(model, environments, candidates), blocks(environments, candidates, 5)
    together = model.get_cost(dict(info), actions)
    alone = [
        model.get_cost({key: value[i : i + 1] for key, value in info.items()}, actions[i : i + 1])
        for i in range(environments)
    ]
    assert together.shape == (environments, candidates)
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-5)
    assert together.std(dim=0).min() > 1e-3, "the environments must differ for this to be a test"


@torch.no_grad()
def test_latents_kept_in_info_serve_the_next_candidates(small_pair):
    model, _ = small_pair
    info = planning_info(model, 2, 4)
    model.get_cost(info, blocks(2, 4, 5, seed=7))
    second = blocks(2, 4, 5, seed=8)
    kept = {key: value for key, value in info.items() if key not in ("pixels", "goal")}
    torch.testing.assert_close(model.get_cost(kept, second), model.get_cost(planning_info(model, 2, 4), second))


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(96, 96), (32, 32), (64, 96)])
def test_interpolated_position_embedding_agrees(small_pair, height, width):
    ours, theirs = small_pair
    pixels = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(9))
    reference = theirs.encoder(pixels, interpolate_pos_encoding=True).last_hidden_state[:, 0]
    assert_agree(ours.encoder(pixels), reference)


def test_training_objective_agrees_in_value_gradients_and_running_statistics(small_pair):
    ours, theirs = (copy.deepcopy(model).train() for model in small_pair)
    pixels, actions = frames(ours, 16, 4), blocks(16, 4)

    torch.manual_seed(10)
    loss = LeWM(projections=64).loss(ours, nn.ModuleDict(), Batch(pixels, actions))
    loss.total.backward()

    torch.manual_seed(10)
    info = theirs.encode({"pixels": pixels, "action": actions})
    predicted = theirs.predict(info["emb"][:, :-1], info["act_emb"][:, :-1])
    sigreg = TheirSIGReg(knots=17, num_proj=64)(info["emb"].transpose(0, 1))
    total = F.mse_loss(predicted, info["emb"][:, 1:]) + 0.09 * sigreg
    total.backward()

    torch.testing.assert_close(loss.total, total, rtol=1e-5, atol=1e-5)
    reference = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    largest = max(gradient.abs().max().item() for gradient in reference.values())
    assert largest > 0.1
    mine = {name: parameter.grad for name, parameter in ours.named_parameters()}
    torch.testing.assert_close(mine, reference, rtol=1e-3, atol=1e-5 * largest)
    torch.testing.assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()), rtol=1e-4, atol=1e-5)


def test_dropout_agrees_for_the_same_seed(small_config, scramble):
    predictor = small_config.predictor.model_copy(update={"dropout": 0.3, "embedding_dropout": 0.2})
    config = small_config.model_copy(update={"predictor": predictor})
    ours, theirs = JEPA(config, BLOCK_DIM), build_theirs(config)
    scramble(ours)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    emb, act_emb = torch.randn(2, 4, 3, config.latent, generator=torch.Generator().manual_seed(6))
    predicted = []
    for model in (ours, theirs):
        torch.manual_seed(14)
        predicted.append(model.train().predict(emb, act_emb))
    assert_agree(*predicted)


@pytest.mark.parametrize("knots", [2, 17])
def test_sigreg_agrees_for_the_same_seed(knots):
    latents = 2 * torch.rand(3, 20, 8, generator=torch.Generator().manual_seed(11))
    statistics = []
    for sigreg in (SIGReg(knots, num_proj=64), TheirSIGReg(knots, num_proj=64)):
        torch.manual_seed(12)
        statistics.append(sigreg(latents))
    torch.testing.assert_close(*statistics, rtol=1e-5, atol=1e-6)


def test_normalization_and_dropout_layers_are_set_as_theirs(pair):
    """A wrong epsilon hides below any tolerance, and dropout is not seen in eval mode."""

    def settings(model: nn.Module) -> dict[str, tuple[Any, ...]]:
        found: dict[str, tuple[Any, ...]] = {}
        for name, module in model.named_modules():
            if isinstance(module, nn.LayerNorm):
                found[name] = (module.eps, module.elementwise_affine, module.normalized_shape)
            elif isinstance(module, nn.BatchNorm1d):
                found[name] = (module.eps, module.momentum, module.affine, module.track_running_stats)
            elif isinstance(module, nn.Dropout) and name.startswith("predictor."):
                found[name] = (module.p,)
            elif name.endswith(".attn"):
                found[name] = (module.dropout, module.heads)
        return found

    ours, theirs = pair
    assert settings(ours) == settings(theirs)


def test_release_has_the_released_number_of_parameters(pairs):
    model, _ = pairs["release"]
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()}
    assert counts == {
        "encoder": 5_501_376,
        "projector": 792_768,
        "pred_proj": 792_768,
        "action_encoder": 156_206,
        "predictor": 10_791_360,
    }
    assert sum(counts.values()) == 18_034_478
    assert sum(value.numel() for value in model.state_dict().values()) == 18_042_672


def test_release_has_the_released_tensors_and_shapes(pairs):
    model, _ = pairs["release"]
    lines = {f"{released_key(key)}\t{list(value.shape)}" for key, value in model.state_dict().items()}
    assert len(lines) == 303
    assert lines == set(RELEASED_KEYS.read_text().splitlines())


def test_their_solver_plans_for_two_environments_in_one_batch(small_pair):
    model, _ = small_pair
    info = {"pixels": frames(model, 2, 1, seed=3), "goal": frames(model, 2, 1, seed=4), "action": blocks(2, 1, seed=5)}
    solver = CEMSolver(model, batch_size=2, num_samples=32, n_steps=4, topk=8, seed=13)
    actions = gymnasium.spaces.Box(-1, 1, shape=(2, 2), dtype=np.float32)
    solver.configure(action_space=actions, n_envs=2, config=PlanConfig(horizon=5, receding_horizon=5, action_block=5))

    plan = solver.solve(dict(info))["actions"]

    assert plan.shape == (2, 5, BLOCK_DIM)
    expanded = {key: for_candidates(value, 2) for key, value in info.items()}
    with torch.no_grad():
        planned, idle = model.get_cost(expanded, torch.stack([plan, torch.zeros_like(plan)], dim=1)).unbind(dim=1)
    assert (planned < idle).all()
