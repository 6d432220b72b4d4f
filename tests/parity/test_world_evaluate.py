"""stable_worldmodel's World.evaluate ends the same pairs as our simulators do, but for what the docs name."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import stable_worldmodel as swm
import torch
from stable_worldmodel.data.formats.hdf5 import HDF5Dataset
from stable_worldmodel.policy import AutoCostModel as their_AutoCostModel
from stable_worldmodel.policy import BasePolicy, PlanConfig, WorldModelPolicy
from stable_worldmodel.solver import CEMSolver

import lewm_cli
from commands import lewm
from lewm_cli.config import EvalProtocol
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.evaluate import EvalResult, choose_pairs
from lewm_cli.simulate import Pair
from lewm_cli.statistics import Rate
from lewm_cli.tasks import PUSHT, TWOROOM, Simulator, Task

pytest_plugins = ("recordings",)

OFFSET = 25
BUDGET = 50
PAIRS = 48

WORLDS = {TWOROOM: ("swm/TwoRoom-v1", "pos_agent"), PUSHT: ("swm/PushT-v1", "state")}
"""What stable_worldmodel calls a task, and the column that it sets as the state and, prefixed, as the goal."""

TICK = 0.01
"""Seconds of a physics step of PushT, of which every state that is set runs one."""

Callables = tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Recorded:
    """Pairs of a recording, and the actions that were recorded from their starts on, (N, B, 2)."""

    task: Task
    dataset: Dataset
    pairs: list[Pair]
    expert: np.ndarray
    random: np.ndarray

    @classmethod
    def of(cls, task: Task, path: Path, *, offset: int = OFFSET, count: int = PAIRS) -> "Recorded":
        dataset = open_dataset(path, task.name)
        pairs = choose_pairs(
            dataset, task, np.arange(len(dataset.lengths)), EvalProtocol(offset=offset, pairs=count, seed=0)
        )
        expert = np.zeros((count, BUDGET, 2), np.float32)  # no action is to stay
        for actions, pair in zip(expert, pairs, strict=True):
            actions[:offset] = dataset.read("action", slice(pair.start_row, pair.goal_row))
        random = np.random.default_rng(0).uniform(-1, 1, expert.shape).astype(np.float32)
        return cls(task, dataset, pairs, expert, random)

    @property
    def start_steps(self) -> list[int]:
        """Within their episodes."""
        return [pair.start_row - int(self.dataset.offsets[pair.episode]) for pair in self.pairs]

    @property
    def apart(self) -> np.ndarray:
        """From start to goal (N,), for TwoRoom, pixels."""
        return np.array([np.linalg.norm(pair.start - pair.goal) for pair in self.pairs])


@dataclass(frozen=True)
class Outcomes:
    """How N pairs ended.

    Args:
        success: (N,) bool.
        paths: per pair the states before every action that was taken.
    """

    success: np.ndarray
    paths: list[np.ndarray]


def state_of(task: Task, environment: Any) -> np.ndarray:
    return environment.agent_position.numpy().copy() if task is TWOROOM else environment._get_obs()


class Replay(BasePolicy):
    """Takes given actions (N, B, 2) whatever it sees, and remembers the states in which it took them."""

    def __init__(self, task: Task, actions: np.ndarray) -> None:
        super().__init__()
        self._task = task
        self._actions = iter(actions.transpose(1, 0, 2))
        self.states: list[np.ndarray] = []

    def get_action(self, info: dict[str, Any], **options: Any) -> np.ndarray:
        self.states.append(np.stack([state_of(self._task, one.unwrapped) for one in self.env.envs]))
        return next(self._actions)


def set_columns(task: Task) -> Callables:
    """As their evaluation sets states and goals."""
    column = WORLDS[task][1]
    return (
        {"method": "_set_state", "args": {"state": {"value": column}}},
        {"method": "_set_goal_state", "args": {"goal_state": {"value": f"goal_{column}"}}},
    )


FRESH: Callables = (
    {"method": "reset", "args": {"options": {"value": {"variation": ()}, "in_dataset": False}}},
    {"method": "_setup"},
)
"""A world in which nothing was drawn and nothing has touched."""


def one_tick_earlier(steps: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Put the agent where it was one physics step before the start."""
    state = steps["state"].double()
    state[0, :2] -= TICK * state[0, 5:]
    return steps | {"state": state}


def theirs(
    recorded: Recorded,
    actions: np.ndarray,
    callables: Callables | None = None,
    transform: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] | None = None,
    *,
    offset: int = OFFSET,
    **world_options: Any,
) -> Outcomes:
    task, pairs = recorded.task, recorded.pairs
    world = swm.World(WORLDS[task][0], num_envs=len(pairs), image_shape=(224, 224), **world_options)
    replay = Replay(task, actions)
    world.set_policy(replay)
    result = world.evaluate(
        dataset=HDF5Dataset(path=recorded.dataset.path, transform=transform),
        episodes_idx=[pair.episode for pair in pairs],
        start_steps=recorded.start_steps,
        goal_offset=offset,
        eval_budget=actions.shape[1],
        callables=list(callables or set_columns(task)),
    )
    taken = [one.get_wrapper_attr("_elapsed_steps") for one in world.envs.envs]  # after its end none is stepped
    world.close()
    paths = [path[:steps] for path, steps in zip(np.stack(replay.states, axis=1), taken, strict=True)]
    return Outcomes(result["episode_successes"], paths)


def ours(recorded: Recorded, actions: np.ndarray) -> Outcomes:
    simulator = recorded.task.make_simulator()
    ended = [_follow(simulator, recorded.task, pair, one) for pair, one in zip(recorded.pairs, actions, strict=True)]
    return Outcomes(np.array([success for success, _ in ended]), [path for _, path in ended])


def _follow(simulator: Simulator, task: Task, pair: Pair, actions: np.ndarray) -> tuple[bool, np.ndarray]:
    """Until the goal is reached; at least one action is taken, so that there is a path to compare."""
    simulator.begin(pair.start, pair.goal)
    solved_at_start, path = simulator.solved(), []
    for action in actions:
        path.append(state_of(task, simulator._environment))
        simulator.step(action)
        if simulator.solved():
            return True, np.stack(path)
    return solved_at_start, np.stack(path)


def assert_same(mine: Outcomes, other: Outcomes) -> None:
    np.testing.assert_array_equal(mine.success, other.success)
    for ours_, theirs_ in zip(mine.paths, other.paths, strict=True):
        np.testing.assert_array_equal(ours_, theirs_)


@pytest.fixture(scope="module")
def rooms(demos: Path) -> Recorded:
    return Recorded.of(TWOROOM, demos / "tworoom" / "demos.h5")


@pytest.fixture(scope="module")
def pushing(pushes: Path) -> Recorded:
    return Recorded.of(PUSHT, pushes / "pusht" / "demos.h5")


# The same actions


@pytest.mark.slow
def test_same_actions_end_the_same_in_two_rooms(rooms: Recorded):
    for actions, least, most in ((rooms.expert, PAIRS, PAIRS), (rooms.random, 5, 20)):
        mine = ours(rooms, actions)
        assert least <= mine.success.sum() <= most
        assert_same(mine, theirs(rooms, actions))


@pytest.mark.slow
def test_same_actions_end_the_same_in_pusht_where_the_start_is_the_recorded_one(pushing: Recorded):
    for actions, least, most in ((pushing.expert, 40, PAIRS), (pushing.random, 0, 10)):
        mine = ours(pushing, actions)
        assert least <= mine.success.sum() <= most
        assert_same(mine, theirs(pushing, actions, FRESH + set_columns(PUSHT), one_tick_earlier))


# What differs


@pytest.mark.slow
def test_their_pusht_starts_a_physics_step_late_which_few_outcomes_depend_on(pushing: Recorded):
    recorded = np.stack([pair.start for pair in pushing.pairs]).astype(float)
    for actions in (pushing.expert, pushing.random):
        mine, other = ours(pushing, actions), theirs(pushing, actions)
        starts = np.stack([path[0] for path in other.paths])
        np.testing.assert_allclose(starts[:, :2], recorded[:, :2] + TICK * recorded[:, 5:], atol=1e-3)
        assert np.linalg.norm(starts[:, :2] - recorded[:, :2], axis=1).max() > 2  # pixels
        assert np.count_nonzero(mine.success != other.success) <= 0.15 * PAIRS


@pytest.mark.slow
def test_solved_start_counts_here_and_not_there(demos: Path):
    near = Recorded.of(TWOROOM, demos / "tworoom" / "demos.h5", offset=3, count=24)
    away = np.stack([100 * (pair.start - pair.goal) for pair in near.pairs])
    actions = np.repeat(np.clip(away, -1, 1)[:, None], BUDGET, axis=1).astype(np.float32)
    mine, other = ours(near, actions), theirs(near, actions, offset=3)
    np.testing.assert_array_equal(mine.success, near.apart < 16)
    left = np.array([len(path) == BUDGET for path in mine.paths])
    assert np.count_nonzero(left & mine.success) >= 3
    np.testing.assert_array_equal(other.success, mine.success & ~left)


@pytest.mark.slow
def test_their_world_ends_after_a_hundred_steps_unless_told_otherwise(rooms: Recorded):
    few = replace(rooms, pairs=rooms.pairs[:8])
    late = np.concatenate([np.zeros((8, 100, 2), np.float32), rooms.expert[:8, :OFFSET]], axis=1)
    mine = ours(few, late)
    assert mine.success.all()
    assert_same(mine, theirs(few, late, max_episode_steps=200))
    # What was solved from the start on is all that is left.
    np.testing.assert_array_equal(theirs(few, late).success, few.apart < 16)


# The same planner


@pytest.mark.soak
def test_same_planner_solves_as_many(demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = tmp_path / "home"
    shutil.copytree(demos, home)
    settings = ("--set", "planner.iterations=10", "--episodes", 40, "--record", 0, "--json")
    for command in (
        ("collect", "tworoom", "--name", "tworoom/test", "--episodes", 40, "--seed", 2),
        ("train", "tworoom", "--dataset", "tworoom/demos", "--preset", "small", "--method", "lewm", "--steps", 100),
    ):
        done = lewm(home, *command)
        assert done.code == 0, done.err
    evaluated = lewm(home, "eval", "tworoom/lewm", "--dataset", "tworoom/test", *settings)
    assert evaluated.code == 0, evaluated.err
    result = EvalResult.model_validate(evaluated.json())
    monkeypatch.setenv("STABLEWM_HOME", str(home))
    mine, other = result.overall.success, their_rate(home, result)
    assert 0.1 < mine.rate < 0.9
    assert other.low < mine.rate < other.high
    assert mine.low < other.rate < mine.high


def their_rate(home: Path, result: EvalResult) -> Rate:
    """Of stable_worldmodel's planner with the same settings, in its World, on the pairs of a result."""
    run, planner = lewm_cli.load(result.run), result.protocol.planner
    actions, episodes = run.card.inputs.actions, [one.episode for one in result.episodes]
    recording = HDF5Dataset(path=home / f"{result.dataset.name}.h5")

    def frame(image: torch.Tensor) -> torch.Tensor:
        return run.prepare(image.permute(1, 2, 0).numpy()[None])[0]

    solver = CEMSolver(
        their_AutoCostModel(result.run, cache_dir=home),
        num_samples=planner.candidates,
        n_steps=planner.iterations,
        topk=planner.elites,
    )
    world = swm.World(WORLDS[TWOROOM][0], num_envs=len(episodes), image_shape=(224, 224))
    world.set_policy(
        WorldModelPolicy(
            solver,
            PlanConfig(planner.horizon, planner.receding, action_block=run.card.inputs.frameskip),
            process={"action": SimpleNamespace(transform=actions.normalize, inverse_transform=actions.denormalize)},
            transform={"pixels": frame, "goal": frame},
        )
    )
    ended = world.evaluate(
        dataset=recording,
        episodes_idx=episodes,
        start_steps=[one.start_row - int(recording.offsets[one.episode]) for one in result.episodes],
        goal_offset=result.protocol.offset,
        eval_budget=result.protocol.budget,
        callables=list(set_columns(TWOROOM)),
    )
    world.close()
    return Rate.of(ended["episode_successes"], np.array(episodes))
