"""stable_worldmodel's policy and solvers plan with our model in its World as with its own, and it takes our solvers."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import stable_worldmodel as swm
import torch
from stable_worldmodel.policy import AutoCostModel as their_AutoCostModel
from stable_worldmodel.policy import PlanConfig, WorldModelPolicy
from stable_worldmodel.solver import CEMSolver, GradientSolver
from stable_worldmodel.solver import Solver as TheirProtocol
from torch import nn

import lewm_cli
from lewm_cli.config import RANKING, PlannerConfig
from lewm_cli.errors import UsageError
from lewm_cli.plan.solvers import SOLVERS
from lewm_cli.store import Home, Run, RunFiles, save_derived, save_run
from theirs import build_theirs

pytest_plugins = ("recordings",)

NAME = "tworoom/lewm"
DOCS = Path(__file__).parents[2] / "docs"
STORE_PAGE, PLANNING_PAGE = DOCS / "store.md", DOCS / "planning.md"
ENVIRONMENTS = 2

Solver = CEMSolver | GradientSolver | lewm_cli.SwmSolver


@pytest.fixture
def run(home: Home, small_model, small_card) -> Run:
    """A scrambled run in the home, with the files that `lewm train` derives."""
    files = RunFiles(home.run_stem(NAME))
    save_run(files, small_model, small_card(small_model))
    save_derived(files, small_model, "lewm")
    return lewm_cli.load(NAME)


def a_world(seed: int) -> swm.World:
    world = swm.World("swm/TwoRoom-v1", num_envs=ENVIRONMENTS, image_shape=(224, 224))
    world.reset(seed=seed)
    return world


@pytest.fixture
def world() -> swm.World:
    """Two environments, each of which is to look like one that began elsewhere."""
    world, other = a_world(3), a_world(7)
    world.infos["goal"] = other.infos["pixels"].copy()
    other.close()
    yield world
    world.close()


def cem(model: nn.Module) -> CEMSolver:
    return CEMSolver(model, batch_size=1, num_samples=24, n_steps=3, topk=6, seed=13)


def gradient(model: nn.Module, batch_size: int = ENVIRONMENTS) -> GradientSolver:
    adam = {"optimizer_cls": torch.optim.Adam, "optimizer_kwargs": {"lr": 0.1}}
    return GradientSolver(model, n_steps=12, batch_size=batch_size, **adam)


def one_by_one(model: nn.Module) -> GradientSolver:
    """As their own model needs it, which is wrong about several environments at once."""
    return gradient(model, batch_size=1)


def policy(run: Run, solver: Solver) -> WorldModelPolicy:
    actions = run.card.inputs.actions

    def frame(image: torch.Tensor) -> torch.Tensor:
        return run.prepare(image.permute(1, 2, 0).numpy()[None])[0]

    return WorldModelPolicy(
        solver,
        PlanConfig(horizon=4, receding_horizon=1, action_block=run.card.inputs.frameskip),
        process={"action": SimpleNamespace(transform=actions.normalize, inverse_transform=actions.denormalize)},
        transform={"pixels": frame, "goal": frame},
    )


def planned(run: Run, world: swm.World, solver: Solver) -> np.ndarray:
    """The first block of actions of every environment, (E, 5, 2), in its own units."""
    acting = policy(run, solver)
    acting.set_env(world.envs)
    return np.stack([acting.get_action(dict(world.infos)) for _ in range(run.card.inputs.frameskip)], axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [cem, gradient])
def test_their_policy_moves_their_environments_with_our_model(run: Run, world: swm.World, solver):
    before, goal = world.infos["proprio"].copy(), world.infos["goal"]
    acting = policy(run, solver(lewm_cli.AutoCostModel(NAME)))
    acting.set_env(world.envs)
    taken = []
    for _ in range(2 * run.card.inputs.frameskip):  # plans twice
        taken.append(acting.get_action(world.infos))
        _, _, _, _, world.infos = world.envs.step(taken[-1])
        world.infos["goal"] = goal
    actions = np.stack(taken)
    assert actions.shape == (10, ENVIRONMENTS, 2)
    assert np.isfinite(actions).all()
    mean, std = (np.array(values) for values in (run.card.inputs.actions.mean, run.card.inputs.actions.std))
    sizes = np.abs(actions - mean) / std
    assert 0.05 < sizes.mean() < 3
    assert np.linalg.norm(world.infos["proprio"] - before, axis=-1).min() > 1  # pixels
    assert np.abs(actions[:5] - actions[5:]).max() > 1e-3, "the second plan must be another one"


def test_their_gradient_solver_lowers_the_cost_and_leaves_the_model_alone(run: Run, world: swm.World):
    model = lewm_cli.AutoCostModel(NAME)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    solver = gradient(model)
    acting = policy(run, solver)
    acting.set_env(world.envs)
    solved: dict[str, Any] = solver.solve(acting._prepare_info(world.infos))
    (costs,) = solved["cost"]
    assert costs[-1] < 0.9 * costs[0]
    assert solved["actions"].shape == (ENVIRONMENTS, 4, run.model.block_dim)
    assert solved["actions"].abs().max() > 0.1
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("solver", [cem, one_by_one])
def test_first_plan_is_that_of_their_own_model(run: Run, world: swm.World, solver):
    theirs = build_theirs(run.model.config).eval()
    theirs.load_state_dict(run.model.state_dict(), strict=True)
    ours = planned(run, world, solver(lewm_cli.AutoCostModel(NAME)))
    assert ours.std() > 0.01
    np.testing.assert_allclose(planned(run, world, solver(theirs)), ours, atol=1e-3 * ours.std())


def test_first_plan_is_that_of_the_object_that_their_loader_finds(run: Run, world: swm.World, home: Home):
    loaded = their_AutoCostModel(NAME, cache_dir=home.write)
    ours = planned(run, world, cem(lewm_cli.AutoCostModel(NAME)))
    np.testing.assert_array_equal(planned(run, world, cem(loaded)), ours)


# Our solvers


def small(solver: str) -> PlannerConfig:
    return PlannerConfig(solver=solver, candidates=12, iterations=3, **({"elites": 4} if "cem" in solver else {}))


@pytest.mark.slow
@pytest.mark.parametrize("solver", sorted(SOLVERS.keys() - set(RANKING)))
def test_their_policy_drives_their_world_with_our_solvers(run: Run, world: swm.World, solver: str):
    ours = lewm_cli.SwmSolver(NAME, small(solver), seed=3)
    acting = policy(run, ours)
    acting.set_env(world.envs)
    assert isinstance(ours, TheirProtocol)
    assert (ours.n_envs, ours.horizon, ours.action_dim) == (ENVIRONMENTS, 4, run.model.block_dim)
    goal, before, plans = world.infos["goal"].copy(), world.infos["proprio"].copy(), []
    for _ in range(2 * run.card.inputs.frameskip):  # plans twice, the second time from what is left
        actions = acting.get_action(world.infos)
        assert actions.shape == (ENVIRONMENTS, 2)
        assert np.isfinite(actions).all()
        if not plans or plans[-1] is not ours.plan:
            plans.append(ours.plan)
        _, _, _, _, world.infos = world.envs.step(actions)
        world.infos["goal"] = goal
    assert len(plans) == 2
    assert not torch.equal(plans[0].actions, plans[1].actions)
    assert all(plan.iterations.tolist() == [13 if solver == "cem-gd" else 3] * ENVIRONMENTS for plan in plans)
    assert np.linalg.norm(world.infos["proprio"] - before, axis=-1).min() > 0.1  # pixels


def test_policy_of_the_page_acts(run: Run, world: swm.World):
    snippets = re.findall(r"^```python\n(.*?)^```", PLANNING_PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (snippet,) = (snippet for snippet in snippets if "SwmSolver" in snippet)
    names: dict[str, Any] = {}
    exec(snippet, names)
    acting = names["policy"]
    acting.solver.planner = small("icem")  # in less time
    acting.set_env(world.envs)
    assert np.isfinite(acting.get_action(world.infos)).all()
    assert (acting.solver.horizon, acting.solver.plan.actions.shape[1]) == (5, 5)


def test_first_plan_of_our_solver_is_as_cheap_as_theirs(run: Run, world: swm.World):
    ours = lewm_cli.SwmSolver(run, PlannerConfig(candidates=24, elites=6, iterations=3))
    theirs = cem(lewm_cli.AutoCostModel(NAME))
    costs = []
    for solver in (ours, theirs):
        acting = policy(run, solver)
        acting.set_env(world.envs)
        solved = solver.solve(acting._prepare_info(world.infos))
        assert solved["actions"].shape == (ENVIRONMENTS, 4, run.model.block_dim)
        costs.append(solved["costs"])
    np.testing.assert_allclose(*costs, rtol=0.5)


def test_our_solver_begins_where_their_policy_says(run: Run, world: swm.World):
    solver = lewm_cli.SwmSolver(run, PlannerConfig(solver="random-shooting", candidates=2, iterations=1, std=1e-6))
    acting = policy(run, solver)
    acting.set_env(world.envs)
    before = torch.randn(ENVIRONMENTS, 3, run.model.block_dim)
    solved = solver.solve(acting._prepare_info(world.infos), init_action=before)
    assert torch.allclose(solved["actions"][:, :3], before, atol=1e-4)
    assert solved["actions"][:, 3].abs().max() < 1e-4


def test_blocks_of_another_length_are_refused(run: Run, world: swm.World):
    acting = WorldModelPolicy(lewm_cli.SwmSolver(run), PlanConfig(horizon=4, receding_horizon=1, action_block=3))
    with pytest.raises(UsageError, match="the policy takes 3 of 2; give PlanConfig action_block=5"):
        acting.set_env(world.envs)


@pytest.mark.slow
def test_example_of_the_page_evaluates_a_trained_run(trained: Path, monkeypatch, capsys):
    snippets = re.findall(r"^```python\n(.*?)^```", STORE_PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (snippet,) = (snippet for snippet in snippets if "WorldModelPolicy" in snippet)
    monkeypatch.setenv("STABLEWM_HOME", str(trained))
    monkeypatch.chdir(trained)
    names: dict[str, Any] = {}
    exec(snippet, names)
    result, world = names["result"], names["world"]
    assert f"{result['success_rate']:.0f} %" in capsys.readouterr().out
    assert len(result["episode_successes"]) == 4
    starts = names["recording"].load_chunk([0, 1, 2, 3], [0] * 4, [1] * 4)
    moved = [
        np.linalg.norm(np.ravel(end) - np.ravel(start["pos_agent"]))
        for end, start in zip(world.infos["proprio"], starts, strict=True)
    ]
    assert min(moved) > 1  # pixels
