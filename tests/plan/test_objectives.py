"""Objectives cost what their definitions say, computed by hand."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lewm_cli.methods import JEPA
from lewm_cli.model import PositionHead, ReachHead
from lewm_cli.plan import LastLatent, LatentCost, Objective, ProbedPosition, Reachability, WholePath


@pytest.fixture
def latents() -> Tensor:
    """Of three candidates, now and after four steps."""
    return torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def goal() -> Tensor:
    return torch.randn(3, 8, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def objectives(small_model: JEPA, scramble: Callable) -> dict[str, Objective]:
    """All there are, their heads scrambled."""
    return {
        "last": LastLatent(small_model),
        "path": WholePath(small_model),
        "probe": ProbedPosition(scramble(PositionHead(8, 2))),
        "reach": Reachability(scramble(ReachHead(8, 6))),
    }


def gelu(x: np.ndarray) -> np.ndarray:
    return torch.nn.functional.gelu(torch.from_numpy(x)).numpy()


def network(head: nn.Module, x: np.ndarray) -> np.ndarray:
    """Its layers, by hand, after the inputs are standardized."""
    first, second, third = (head.net[k] for k in (0, 2, 4))
    for layer in (first, second):
        x = gelu(x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())
    return x @ third.weight.detach().numpy().T + third.bias.detach().numpy()


def test_last_is_the_squared_distance_of_the_last_latent(objectives: dict[str, Objective], latents, goal):
    expected = [sum((latents[n, 4, d] - goal[n, d]).item() ** 2 for d in range(8)) for n in range(3)]
    assert objectives["last"](latents, goal).tolist() == pytest.approx(expected, rel=1e-5)


def test_path_is_the_mean_over_the_imagined_steps(objectives: dict[str, Objective], latents, goal):
    apart = ((latents - goal[:, None]).numpy() ** 2).sum(axis=2)
    assert objectives["path"](latents, goal).tolist() == pytest.approx(apart[:, 1:].mean(axis=1).tolist(), rel=1e-5)
    still = objectives["path"](latents[:, :1], goal)
    assert still.tolist() == pytest.approx(apart[:, 0].tolist(), rel=1e-5)


def test_probe_is_the_squared_distance_of_the_positions_read(objectives: dict[str, Objective], latents, goal):
    head = objectives["probe"].head

    def read(values: Tensor) -> np.ndarray:
        scaled = ((values - head.scale.mean) / head.scale.std).numpy()
        return network(head, scaled) * head.unit.numpy() + head.offset.numpy()

    expected = ((read(latents[:, 4]) - read(goal)) ** 2).sum(axis=1)
    assert objectives["probe"](latents, goal).tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_reach_is_the_mean_over_classes_of_steps(objectives: dict[str, Objective], latents, goal):
    head = objectives["reach"].head
    scaled = [((values - head.scale.mean) / head.scale.std).numpy() for values in (latents[:, 4], goal)]
    logits = network(head, np.concatenate(scaled, axis=1))
    likely = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = (likely * head.steps.numpy()).sum(axis=1)
    assert objectives["reach"](latents, goal).tolist() == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", ["last", "path", "probe", "reach"])
def test_every_objective_can_be_followed_by_gradients_and_takes_any_batch(
    objectives: dict[str, Objective], latents, goal, name: str
):
    free = latents.clone().requires_grad_()
    cost = objectives[name](free, goal)
    cost.sum().backward()
    moving = free.grad.abs().sum(dim=2)
    assert (moving[:, -1] > 0).all()
    assert (moving[:, 1:-1] > 0).all() == (name == "path")
    assert (moving[:, 0] == 0).all()  # nobody can change where they are
    grouped = objectives[name](latents[None].expand(2, -1, -1, -1), goal[None].expand(2, -1, -1))
    assert torch.allclose(grouped, cost.detach().expand(2, -1), rtol=1e-4, atol=1e-5)


def test_path_prefers_arriving_early_and_last_does_not_care(objectives: dict[str, Objective], goal):
    late = torch.stack([goal[0] + far for far in (4.0, 3.0, 2.0, 1.0, 0.0)])
    early = torch.stack([goal[0] + far for far in (4.0, 1.0, 0.0, 0.0, 0.0)])
    both, goals = torch.stack([late, early]), goal[:1].expand(2, -1)
    assert objectives["path"](both, goals).diff() < 0
    assert objectives["last"](both, goals).diff() == 0


def test_cost_of_candidates_is_what_the_objective_says_of_what_is_imagined(
    small_model: JEPA, objectives: dict[str, Objective]
):
    generator = torch.Generator().manual_seed(3)
    start, goals = torch.randn(2, 1, 8, generator=generator), torch.randn(2, 8, generator=generator)
    candidates = torch.randn(2, 6, 4, 10, generator=generator)
    for name, objective in objectives.items():
        cost = LatentCost(small_model, start, goals, objective)
        costs = cost(candidates)
        with torch.inference_mode():
            for number, sequence in itertools.product(range(2), range(6)):
                imagined = small_model.imaginer()(start[number][None], candidates[number, sequence][None])
                alone = objective(imagined, goals[number][None])
                assert costs[number, sequence].item() == pytest.approx(alone.item(), rel=1e-4, abs=1e-5), name
            standing = objective(start, goals)
        assert torch.allclose(cost.of(1)(candidates[1:]), costs[1:], rtol=1e-4, atol=1e-5)
        assert torch.allclose(cost.along(candidates[:, 0])[:, 0], standing, rtol=1e-4, atol=1e-5)
        assert torch.allclose(cost.along(candidates[:, 0])[:, -1], costs[:, 0], rtol=1e-4, atol=1e-5)
    default = LatentCost(small_model, start, goals)(candidates)
    assert torch.equal(default, LatentCost(small_model, start, goals, objectives["last"])(candidates))
