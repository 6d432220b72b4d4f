"""Reacher is stable_worldmodel's own simulator: recorded, set, stepped and drawn bit for bit as it does it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import lewm
from drawing import drawing_simulator
from lewm_cli.data import open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.store import dataset_task
from lewm_cli.tasks import REACHER, Episode, find_task
from lewm_cli.tasks.reacher.match import joint_errors, matches
from lewm_cli.tasks.swm import make_environment
from synthetic import join_recordings, write_recording

pytestmark = pytest.mark.slow  # drives and draws with MuJoCo

pytest_plugins = ("recordings",)

SCHEMA = {
    "observation": ((6,), "float32"),
    "qpos": ((2,), "float64"),
    "qvel": ((2,), "float64"),
    "target_pos": ((2,), "float64"),
    "finger_pos": ((2,), "float64"),
    "reward": ((), "float32"),
    "success": ((), "float32"),
    "terminated": ((), "bool"),
    "truncated": ((), "bool"),
}
angles = st.floats(-30, 30)


@pytest.fixture(scope="module")
def episode() -> Episode:
    return drawing_simulator("reacher").demonstrate(np.random.SeedSequence([0, 0]), any_start=False)


@pytest.fixture
def simulator(episode: Episode):
    return drawing_simulator("reacher")


LEFT_OPEN = []
"""Environments that draw by dm_control: closed, they would free frame buffers in whichever context is current, ours."""


@pytest.fixture(scope="module")
def theirs(episode: Episode) -> Any:
    """stable_worldmodel's environment, untouched by ours."""
    environment = make_environment("swm/ReacherDMControl-v0", task="qpos_match")
    environment.reset(seed=0)
    LEFT_OPEN.append(environment)
    return environment


def state(episode: Episode, row: int) -> np.ndarray:
    return np.concatenate([episode.columns["qpos"][row], episode.columns["qvel"][row]])


# Recording


def test_columns_and_lengths_are_the_released_ones(episode: Episode):
    assert {name: (values.shape[1:], str(values.dtype)) for name, values in episode.columns.items()} == SCHEMA
    assert {len(values) for values in (episode.pixels, episode.action, *episode.columns.values())} == {201}
    assert (episode.pixels.shape[1:], episode.pixels.dtype) == ((224, 224, 3), np.uint8)
    assert np.isnan(episode.action).any(axis=1).tolist() == [False] * 200 + [True]
    assert episode.columns["truncated"].tolist() == [False] * 200 + [True]


def test_actions_are_uniform(episode: Episode):
    actions = episode.action[:200]
    assert np.abs(actions).max() <= 1
    assert abs(actions.mean()) < 0.15
    assert abs(actions.std() - 1 / np.sqrt(3)) < 0.05


def test_recorded_is_what_stable_worldmodel_does(episode: Episode, theirs):
    theirs.reset(seed=0)
    theirs.set_state(*np.split(state(episode, 0), 2))
    assert np.array_equal(theirs.render(), episode.pixels[0])
    for row in range(1, 201):
        observation, _, _, _, info = theirs.step(episode.action[row - 1])
        assert np.array_equal(info["qpos"], episode.columns["qpos"][row]), row
        assert np.array_equal(info["qvel"], episode.columns["qvel"][row]), row
        assert np.array_equal(info["finger_pos"], episode.columns["finger_pos"][row]), row
        assert np.array_equal(observation[:2], episode.columns["observation"][row, :2])
        if row % 50 == 0:
            assert np.array_equal(theirs.render(), episode.pixels[row]), row


def test_reset_is_what_stable_worldmodel_does(episode: Episode, theirs):
    seed = np.random.SeedSequence([0, 0]).spawn(1)[0]
    observation, info = theirs.reset(seed=int(seed.generate_state(1)[0]))
    assert np.array_equal(info["qpos"], episode.columns["qpos"][0])
    assert np.array_equal(info["target_pos"], episode.columns["target_pos"][0])
    assert np.array_equal(observation, episode.columns["observation"][0])


def test_other_seed_is_another_episode(episode: Episode, simulator, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lewm_cli.tasks.reacher.simulator.STEPS", 5)
    other = simulator.demonstrate(np.random.SeedSequence([0, 1]), any_start=False)
    assert not np.array_equal(other.columns["qpos"][0], episode.columns["qpos"][0])
    assert not np.array_equal(other.action[:5], episode.action[:5])


# Driving


def test_recorded_state_renders_the_recorded_frame(simulator, episode: Episode):
    for row in (0, 7, 100, 200):
        simulator.begin(state(episode, row), state(episode, 0))
        assert np.array_equal(simulator.frame(), episode.pixels[row]), row
        assert np.array_equal(simulator.goal_frame(), episode.pixels[0])
    assert simulator.proprio() is simulator.goal_proprio() is None  # nor is it recorded


def test_recorded_action_leads_to_the_next_recorded_state(simulator, episode: Episode):
    simulator.begin(state(episode, 0), state(episode, 200))
    for row in range(200):
        simulator.step(episode.action[row])
    assert simulator.distance() == 0.0
    assert np.array_equal(simulator.frame(), episode.pixels[200])


def test_simulators_of_one_process_do_not_disturb_each_other(simulator, episode: Episode):
    other = REACHER.make_simulator()
    simulator.begin(state(episode, 0), state(episode, 200))
    other.begin(state(episode, 50), state(episode, 60))
    other.perturb("color", np.random.default_rng(0))
    for row in range(10):
        simulator.step(episode.action[row])
        other.step(episode.action[50 + row])
        other.frame()
    assert other.distance() == 0.0
    assert np.array_equal(simulator.frame(), episode.pixels[10])


def test_goal_ends_no_episode_and_is_reached_when_stable_worldmodel_says_so(simulator, episode: Episode, theirs):
    start, goal = state(episode, 20), state(episode, 32)
    theirs.reset(seed=0)
    theirs.set_state(*np.split(start, 2))
    theirs.set_target_qpos(goal[:2])
    simulator.begin(start, goal)
    terminated, row = False, 20
    while not terminated:
        _, _, terminated, _, info = theirs.step(episode.action[row])
        simulator.step(episode.action[row])
        assert simulator.solved() == terminated, row
        assert np.array_equal(simulator._state[:2], info["qpos"]), row
        row += 1
    theirs.env.task.target_qpos = None
    assert 20 < row <= 32
    for action in episode.action[row : row + 5]:
        before = simulator._state[:2]
        simulator.step(action)
        assert np.abs(simulator._state[:2] - before).max() < 0.5, "a new episode has begun"


def test_state_that_cannot_be_taken_is_refused(simulator, episode: Episode):
    with pytest.raises(LewmError, match="did not take the recorded state"):
        simulator.begin(np.full(4, np.nan), state(episode, 0))


def test_position_is_where_the_finger_is_seen(simulator, episode: Episode):
    paint = simulator._physics.named.model.mat_rgba["effector"]
    orange = paint.copy()
    for row in (0, 60, 120, 180):
        simulator.begin(state(episode, row), state(episode, row))
        before = simulator.frame()
        paint[:] = [0, 1, 0, 1]
        ys, xs = np.nonzero((simulator.frame() != before).any(axis=2))
        paint[:] = orange
        assert 5 < len(xs) < 200
        assert np.abs(simulator.position() - [xs.mean() + 0.5, ys.mean() + 0.5]).max() < 1, row


def test_pairs_far_apart_are_a_group(simulator):
    start = np.array([0.0, 0.0, 9.0, 9.0])
    assert simulator.groups(start, start + np.array([0, 0.6, 0, 0])) == ("at least 0.5 rad apart",)
    assert simulator.groups(start, start + np.array([0.4, -0.4, 5, 5])) == ()
    assert simulator.route_valid(np.zeros((3, 2))) is None


# Perturbations


def test_teleport_moves_the_finger(simulator, episode: Episode):
    for seed in range(5):
        simulator.begin(state(episode, 30), state(episode, 55))
        size = simulator.perturb("teleport", np.random.default_rng(seed))
        finger = simulator._finger_tip()
        assert size == pytest.approx(100 * np.linalg.norm(finger - episode.columns["finger_pos"][30]))
        assert size >= 10
        assert np.array_equal(simulator._state[2:], episode.columns["qvel"][30])
    assert not np.array_equal(simulator.frame(), episode.pixels[30])


def test_new_color_is_that_of_the_arm_until_the_next_begin(simulator, episode: Episode):
    simulator.begin(state(episode, 30), state(episode, 55))
    assert simulator.perturb("color", np.random.default_rng(3)) >= 128
    changed = (simulator.frame() != episode.pixels[30]).any(axis=2)
    assert 50 < changed.sum() < 4000
    assert simulator.distance() > 0
    simulator.begin(state(episode, 30), state(episode, 55))
    assert np.array_equal(simulator.frame(), episode.pixels[30])


# The rule


@given(angles, angles, angles, st.integers(-3, 3))
def test_wrapped_shoulder_takes_the_shorter_way(shoulder: float, goal: float, wrist: float, turns: int):
    here, there = np.array([shoulder, wrist]), np.array([goal, 0.0])
    raw, wrapped = joint_errors(here, there), joint_errors(here, there, wrap_shoulder=True)
    assert raw.tolist() == [abs(shoulder - goal), abs(wrist)]
    assert wrapped[1] == raw[1]
    assert 0 <= wrapped[0] <= np.pi + 1e-9
    assert wrapped[0] <= raw[0] + 1e-9
    assert np.cos(wrapped[0]) == pytest.approx(np.cos(raw[0]), abs=1e-9)
    turned = joint_errors(here + np.array([2 * np.pi * turns, 0]), there, wrap_shoulder=True)
    assert turned == pytest.approx(wrapped, abs=1e-6)


def test_every_joint_has_to_be_near():
    assert matches(np.array([0.049, 0.0]))
    assert not matches(np.array([0.05, 0.0]))
    assert not matches(np.array([0.0, 0.051]))


# Names


@pytest.mark.parametrize("name", ["reacher", "reacher_random", "dmc/reacher"])
def test_reacher_goes_by_its_names(name: str):
    assert find_task(name) is REACHER


def test_recordings_are_recognized(tmp_path: Path):
    named = write_recording(tmp_path / "reacher.h5", dims=2)
    rows = open_dataset(named, "reacher").rows
    columns = {"qpos": np.zeros((rows, 2)), "qvel": np.zeros((rows, 2)), "finger_pos": np.zeros((rows, 2))}
    other = write_recording(tmp_path / "dmc" / "reacher_random.h5", dims=2, columns=columns)
    for path in (named, other):
        assert dataset_task(open_dataset(path, path.stem)) is REACHER


# Through the real command

QUICK = ("--set", "planner.candidates=32", "--set", "planner.elites=8", "--set", "planner.iterations=3")


@pytest.fixture(scope="module")
def unset(episode: Episode) -> Iterator[None]:
    """Every command chooses the back-end itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MUJOCO_GL", raising=False)
        yield


@pytest.fixture(scope="module")
def world(unset: None, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run, and with a recording of which the run knows one half and `reacher/test` is the other."""
    home = tmp_path_factory.mktemp("reacher")
    done = lewm(home, "collect", "reacher", "--episodes", 4, "--workers", 1, "--name", "reacher/all")
    assert done.code == 0, done.err
    assert "Warning" not in done.err
    recorded = open_dataset(home / "reacher" / "all.h5", "reacher/all")
    for name, episodes in (("demos", [0, 1]), ("test", [2, 3])):
        join_recordings(home / "reacher" / f"{name}.h5", [(recorded, episodes)], task="reacher")
    done = lewm(home, "train", "reacher", "--dataset", "reacher/demos", "--preset", "small", "--config", tiny)
    assert done.code == 0, done.err
    return home


def test_worker_records_what_this_process_does(world: Path, episode: Episode):
    dataset = open_dataset(world / "reacher" / "all.h5", "reacher/all")
    assert (dataset.task, dataset.lengths.tolist()) == ("reacher", [201] * 4)
    for name, values in {"action": episode.action, "pixels": episode.pixels, **episode.columns}.items():
        recorded = dataset.read(name, slice(0, 201))
        assert np.array_equal(recorded, values, equal_nan=values.dtype.kind == "f"), name


def test_evaluation_plans_and_films(world: Path):
    done = lewm(world, "eval", "reacher/lewm", "--dataset", "reacher/test", "--episodes", 4, *QUICK, "--json")
    assert done.code == 0, done.err
    result = done.json()
    assert result["overall"]["success"]["trials"] == 4
    assert {one["route_valid"] for one in result["episodes"]} == {None}
    assert list((world / "reacher" / "lewm.run" / "results").glob("films-*.json"))


@pytest.mark.parametrize(
    ("perturbation", "unit"), [("teleport", "cm"), pytest.param("color", "RGB levels", marks=pytest.mark.soak)]
)
def test_perturbations_are_staged(world: Path, perturbation: str, unit: str):
    done = lewm(world, "surprise", "reacher/test", "--perturb", perturbation, "--json")
    assert done.code == 0, done.err
    assert done.json()["size_unit"] == unit
    # Until the event both are the same episode, and of the same frames.
    for one in done.json()["episodes"]:
        assert one["untouched"]["pixels"][: one["event"]] == one["perturbed"]["pixels"][: one["event"]]


@pytest.mark.soak
def test_every_quantity_is_probed(world: Path):
    done = lewm(world, "collect", "reacher", "--episodes", 6, "--seed", 1, "--name", "reacher/probe")
    assert done.code == 0, done.err
    probed = lewm(world, "probe", "reacher/lewm", "--dataset", "reacher/probe", "--frames", 300, "--json")
    assert probed.code == 0, probed.err
    assert all(target.name in probed.out for target in REACHER.probe_targets)


# The wrapped success criterion


def test_wrapped_gate_of_reacher_takes_a_whole_turn_for_nothing():
    pytest.importorskip("dm_control")
    simulator = find_task("reacher").make_simulator()
    goal = np.array([0.5, 1.0, 0.0, 0.0])
    for turn, wrist, own, wrapped in (
        (0.0, 0.0, True, True),
        (2 * np.pi, 0.0, False, True),
        (-4 * np.pi, 0.0, False, True),
        (np.pi, 0.0, False, False),
        (0.0, 0.1, False, False),
    ):
        for gate, reached in (("simulator", own), ("wrapped", wrapped)):
            simulator.judge_by(gate)
            simulator.begin(goal + np.array([turn, wrist, 0, 0]), goal)
            assert simulator.solved() == reached
