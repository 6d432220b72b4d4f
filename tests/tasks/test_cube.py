"""Cube is stable_worldmodel's own simulator: recorded, set, stepped and drawn bit for bit as it does it.

A frame takes a tenth of a second, so that what can be seen without frames is tested without.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from commands import lewm, lewm_here
from drawing import drawing_simulator
from lewm_cli.data import open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.store import Home, dataset_task
from lewm_cli.tasks import CUBE, Episode, find_task
from lewm_cli.tasks.swm import make_environment
from synthetic import write_recording

pytestmark = pytest.mark.slow  # drives and draws with MuJoCo

pytest_plugins = ("recordings",)

SCHEMA = {
    "observation": ((28,), "float64"),
    "control": ((7,), "float64"),
    "time": ((1,), "float64"),
    "qpos": ((21,), "float64"),
    "qvel": ((20,), "float64"),
    "prev_qpos": ((21,), "float64"),
    "prev_qvel": ((20,), "float64"),
    "target": ((28,), "float64"),
    "success": ((), "bool"),
    "privileged_block_0_pos": ((3,), "float64"),
    "privileged_block_0_quat": ((4,), "float64"),
    "privileged_block_0_yaw": ((1,), "float64"),
    "privileged_target_block": ((), "int64"),
    "privileged_target_block_pos": ((3,), "float64"),
    "privileged_target_block_yaw": ((1,), "float64"),
    "proprio_effector_pos": ((3,), "float64"),
    "proprio_effector_yaw": ((1,), "float64"),
    "proprio_joint_pos": ((6,), "float64"),
    "proprio_joint_vel": ((6,), "float64"),
    "proprio_gripper_opening": ((1,), "float64"),
    "proprio_gripper_vel": ((1,), "float64"),
    "proprio_gripper_contact": ((1,), "float64"),
    "reward": ((), "float32"),
    "terminated": ((), "bool"),
    "truncated": ((), "bool"),
}
STEPS = 8
BLANK = np.zeros((1, 1, 3), np.uint8)


@pytest.fixture(scope="module")
def episode() -> Episode:
    """A short one, with frames."""
    with pytest.MonkeyPatch.context() as patch:
        simulator = drawing_simulator("cube")
        patch.setattr("lewm_cli.tasks.cube.simulator.STEPS", STEPS)
        return simulator.demonstrate(np.random.SeedSequence([0, 0]), any_start=False)


@pytest.fixture(scope="module")
def long_episode(episode: Episode) -> Episode:
    """The same one in full length, without frames."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lewm_cli.tasks.cube.simulator.CubeSimulator.frame", lambda simulator: BLANK)
        return CUBE.make_simulator().demonstrate(np.random.SeedSequence([0, 0]), any_start=False)


@pytest.fixture
def simulator(episode: Episode):
    return drawing_simulator("cube")


@pytest.fixture(scope="module")
def theirs(episode: Episode) -> Iterator:
    """stable_worldmodel's environment as released models are evaluated in it, untouched by ours."""
    environment = make_environment(
        "swm/OGBCube-v0",
        env_type="single",
        ob_type="states",
        multiview=False,
        height=224,
        width=224,
        visualize_info=False,
        terminate_at_goal=True,
    )
    environment.reset()
    yield environment
    if environment._renderer is not None:
        environment._renderer._gl_context.make_current()  # or it takes frame buffers of ours with it
        environment._renderer.close()


def state(episode: Episode, row: int) -> np.ndarray:
    return np.concatenate([episode.columns["qpos"][row], episode.columns["qvel"][row]])


def moved(episode: Episode, **numbers: float) -> np.ndarray:
    """The first state with the block shifted."""
    shifted = state(episode, 0)
    for axis, number in numbers.items():
        shifted[14 + "xyz".index(axis)] += number
    return shifted


# Recording


def test_columns_are_the_released_ones(episode: Episode):
    assert {name: (values.shape[1:], str(values.dtype)) for name, values in episode.columns.items()} == SCHEMA
    assert {len(values) for values in (episode.pixels, episode.action, *episode.columns.values())} == {STEPS + 1}
    assert (episode.pixels.shape[1:], episode.pixels.dtype) == ((224, 224, 3), np.uint8)
    assert episode.action.dtype == np.float32
    assert np.isnan(episode.action).any(axis=1).tolist() == [False] * STEPS + [True]


def test_episodes_are_as_long_as_released_ones(episode: Episode, long_episode: Episode):
    assert len(long_episode) == 201
    assert long_episode.columns["truncated"].tolist() == [False] * 200 + [True]
    # Frames change nothing in what happens.
    assert np.array_equal(long_episode.columns["qpos"][: STEPS + 1], episode.columns["qpos"])


def test_expert_lifts_the_block_and_puts_it_at_the_target(long_episode: Episode):
    block, target = (long_episode.columns[f"privileged_{name}_pos"] for name in ("block_0", "target_block"))
    assert np.linalg.norm(block[0] - target[0]) > 0.04
    assert block[:, 2].max() > 0.08
    assert long_episode.columns["success"].any()
    assert np.linalg.norm(block - target, axis=1).min() < 0.02
    assert np.abs(long_episode.action[:200]).max() <= 1


def test_same_seed_is_the_same_episode_whatever_was_drawn_before(long_episode: Episode, monkeypatch):
    monkeypatch.setattr("lewm_cli.tasks.cube.simulator.CubeSimulator.frame", lambda simulator: BLANK)
    simulator = CUBE.make_simulator()
    other = simulator.demonstrate(np.random.SeedSequence([0, 1]), any_start=False)
    np.random.seed(5)
    expected = np.random.RandomState(5).uniform(size=3)
    again = simulator.demonstrate(np.random.SeedSequence([0, 0]), any_start=False)
    assert np.array_equal(np.random.uniform(size=3), expected)  # the global generator is left alone
    for name, values in long_episode.columns.items():
        assert np.array_equal(again.columns[name], values), name
    assert np.array_equal(again.action, long_episode.action, equal_nan=True)
    assert not np.array_equal(other.columns["qpos"][0], long_episode.columns["qpos"][0])


def test_recorded_is_what_stable_worldmodel_does(episode: Episode, theirs):
    theirs.set_state(episode.columns["qpos"][0], episode.columns["qvel"][0])
    for row in range(1, STEPS + 1):
        observation, _, _, _, info = theirs.step(episode.action[row - 1])
        assert np.allclose(info["qpos"], episode.columns["qpos"][row], atol=1e-6), row
        assert np.allclose(observation, episode.columns["observation"][row], atol=1e-3), row
    # After one step of the arm only its shadow may fall a little differently.
    assert np.abs(theirs.render().astype(int) - episode.pixels[STEPS]).mean() < 0.1


# Driving


def test_recorded_state_renders_the_recorded_frame(simulator, episode: Episode):
    simulator.begin(state(episode, 0), state(episode, STEPS))
    assert np.array_equal(simulator.frame(), episode.pixels[0])
    # In motion, where bodies lag the joints by a physics step, and at the goal.
    assert np.array_equal(simulator.goal_frame(), episode.pixels[STEPS])
    assert simulator.proprio() is simulator.goal_proprio() is None  # nor is there one column of it


def test_recorded_action_leads_to_the_next_recorded_state(simulator, long_episode: Episode, episode: Episode):
    simulator.begin(state(long_episode, 0), state(long_episode, 200))
    for row in range(200):
        simulator.step(long_episode.action[row])
        if row + 1 == STEPS:
            assert np.array_equal(simulator.frame(), episode.pixels[STEPS])
        assert np.array_equal(simulator._state, state(long_episode, row + 1)), row
    assert simulator.distance() == 0.0
    assert simulator.solved()


def test_simulators_of_one_process_do_not_disturb_each_other(simulator, long_episode: Episode):
    other = CUBE.make_simulator()
    simulator.begin(state(long_episode, 0), state(long_episode, 20))
    other.begin(state(long_episode, 0), state(long_episode, 60))
    other.perturb("color", np.random.default_rng(0))
    for row in range(20):
        simulator.step(long_episode.action[row])
        other.step(-long_episode.action[row])
    assert np.array_equal(simulator._state, state(long_episode, 20))
    assert simulator.distance() == 0.0


def test_goal_is_where_the_block_should_be(simulator, episode: Episode):
    simulator.begin(state(episode, 0), moved(episode, x=0.05))
    assert simulator.distance() == pytest.approx(0.05)
    assert not simulator.solved()
    assert simulator.groups(state(episode, 0), moved(episode, x=0.05)) == ("block has to be moved",)
    simulator.begin(state(episode, 0), moved(episode, y=0.039))
    assert simulator.solved()
    assert simulator.groups(state(episode, 0), moved(episode, y=0.039)) == ()
    assert simulator.route_valid(np.zeros((3, 2))) is None


def test_state_that_cannot_be_taken_is_refused(simulator, episode: Episode):
    with pytest.raises(LewmError, match="Cube did not take the recorded state"):
        simulator.begin(np.full(41, np.nan), state(episode, 0))


def test_random_actions_are_uniform(simulator):
    actions = np.stack([simulator.random_action(np.random.default_rng(seed)) for seed in range(200)])
    assert actions.shape == (200, 5)
    assert np.abs(actions).max() <= 1
    assert (np.abs(actions.mean(axis=0)) < 0.15).all()


def test_position_is_where_the_gripper_is_seen(simulator, long_episode: Episode):
    """The block between the fingers is where they are seen; a block on the table is where it is projected to."""
    held = int(np.argmax(long_episode.columns["privileged_block_0_pos"][:, 2]))
    scene = simulator._scene
    for row, where in ((held, simulator.position), (0, None)):
        simulator.begin(state(long_episode, row), state(long_episode, row))
        before = simulator.frame()
        simulator.perturb("color", np.random.default_rng(1))
        ys, xs = np.nonzero(np.abs(simulator.frame().astype(int) - before).max(axis=2) > 30)
        seen = np.array([xs.mean(), ys.mean()]) + 0.5
        point = long_episode.columns["privileged_block_0_pos"][row]
        expected = where() if where else scene.project(simulator._data, point)
        assert np.abs(expected - seen).max() < 4, row


# Perturbations


def test_teleport_puts_the_block_at_a_free_place(simulator, long_episode: Episode):
    held = int(np.argmax(long_episode.columns["privileged_block_0_pos"][:, 2]))
    before = long_episode.columns["privileged_block_0_pos"][held]
    places = []
    for seed in range(20):
        simulator.begin(state(long_episode, held), state(long_episode, 200))
        size = simulator.perturb("teleport", np.random.default_rng(seed))
        block = simulator._data.qpos[14:17].copy()
        assert size == pytest.approx(100 * np.linalg.norm(block - before))
        assert size >= 10
        assert 0.3 <= block[0] <= 0.55
        assert -0.3 <= block[1] <= 0.3
        places.append(block)
        assert np.array_equal(simulator._data.qpos[:14], long_episode.columns["qpos"][held, :14])
        for _ in range(5):
            simulator.step(np.zeros(5))
        assert np.linalg.norm(simulator._data.qpos[14:17] - block) < 0.005, "it was not free"
    assert np.ptp(places, axis=0)[:2].min() > 0.1


def test_new_color_is_that_of_the_block_until_the_next_begin(simulator, episode: Episode):
    simulator.begin(state(episode, 0), state(episode, STEPS))
    assert simulator.perturb("color", np.random.default_rng(3)) >= 128
    changed = (simulator.frame() != episode.pixels[0]).any(axis=2)
    assert 20 < changed.sum() < 2000
    simulator.begin(state(episode, 0), state(episode, STEPS))
    assert np.array_equal(simulator.frame(), episode.pixels[0])


# Names


@pytest.mark.parametrize("name", ["cube", "ogb_cube"])
def test_cube_goes_by_its_names(name: str):
    assert find_task(name) is CUBE


def test_recordings_are_recognized(tmp_path: Path):
    released = write_recording(tmp_path / "ogbench" / "cube_single_expert.h5", dims=5)
    rows = open_dataset(released, "released").rows
    widths = {"qpos": 21, "qvel": 20, "privileged_block_0_pos": 3}
    columns = {name: np.zeros((rows, width)) for name, width in widths.items()}
    other = write_recording(tmp_path / "other.h5", dims=5, columns=columns)
    for path in (released, other):
        assert dataset_task(open_dataset(path, path.stem)) is CUBE


def test_released_recording_comes_first_and_keeps_its_name(home: Home):
    write_recording(home.write / "cube" / "demos.h5", dims=5, task="cube")
    write_recording(home.write / "ogbench" / "cube_single_expert.h5", dims=5)
    assert [dataset.name for dataset in home.datasets_of(CUBE)] == ["ogbench/cube_single_expert", "cube/demos"]
    refused = lewm_here(home.write, "collect", "cube", "--episodes", 1, "--name", "ogbench/cube_single_expert")
    assert "is the name of a released dataset" in refused.sentence(2)


def test_every_probe_target_is_recorded():
    for target in CUBE.probe_targets:
        shape, _ = SCHEMA[target.column]
        assert target.index + target.recorded <= shape[0], target
    assert len({target.name for target in CUBE.probe_targets}) == len(CUBE.probe_targets)


# Through the real command


@pytest.fixture(scope="module")
def recorded(episode: Episode, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with short recordings to train on and to test on."""
    folder, simulator = tmp_path_factory.mktemp("cube"), CUBE.make_simulator()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lewm_cli.tasks.cube.simulator.STEPS", 40)
        for number, name, count in ((0, "demos", 2), (1, "test", 5)):
            seeds = [np.random.SeedSequence([number, k]) for k in range(count)]
            episodes = [simulator.demonstrate(seed, any_start=False) for seed in seeds]
            columns = {
                "pixels": np.concatenate([one.pixels for one in episodes]),
                "action": np.concatenate([one.action for one in episodes]),
                **{column: np.concatenate([one.columns[column] for one in episodes]) for column in SCHEMA},
            }
            write_recording(folder / "cube" / f"{name}.h5", [41] * count, dims=5, columns=columns, task="cube")
    return folder


@pytest.mark.soak
def test_whole_way_through_the_command(recorded: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)  # every command chooses itself
    done = lewm(recorded, "train", "cube", "--dataset", "cube/demos", "--preset", "small", "--config", tiny)
    assert done.code == 0, done.err
    settings = ("--set", "planner.candidates=32", "--set", "planner.elites=8", "--set", "planner.iterations=3")
    evaluated = lewm(recorded, "eval", "cube/lewm", "--dataset", "cube/test", "--episodes", 4, *settings, "--json")
    assert evaluated.code == 0, evaluated.err
    assert evaluated.json()["overall"]["success"]["trials"] == 4
    probed = lewm(recorded, "probe", "cube/lewm", "--dataset", "cube/test", "--frames", 200, "--json")
    assert probed.code == 0, probed.err
    for perturbation, unit in (("teleport", "cm"), ("color", "RGB levels")):
        done = lewm(recorded, "surprise", "cube/test", "--perturb", perturbation, "--episodes", 2, "--json")
        assert done.code == 0, done.err
        assert done.json()["size_unit"] == unit


@pytest.mark.soak
def test_worker_records_what_this_process_does(tmp_path: Path, episode: Episode, long_episode: Episode):
    done = lewm(tmp_path, "collect", "cube", "--episodes", 1)
    assert done.code == 0, done.err
    assert "Warning" not in done.err
    dataset = open_dataset(tmp_path / "cube" / "demos.h5", "cube/demos")
    for name, values in {"action": long_episode.action, **long_episode.columns}.items():
        there = dataset.read(name, slice(None))
        assert np.array_equal(there, values, equal_nan=values.dtype.kind == "f"), name
    assert np.array_equal(dataset.read("pixels", slice(0, STEPS + 1)), episode.pixels)


# The tight success criterion


def test_tight_gate_of_cube_is_three_centimeters():
    pytest.importorskip("ogbench")
    simulator = find_task("cube").make_simulator()
    state = simulator._state  # of the scene as it is built; a demonstration would take a minute without a GPU
    for apart, own, tight in ((0.0, True, True), (0.029, True, True), (0.035, True, False), (0.045, False, False)):
        goal = state.copy()
        goal[14] += apart
        for gate, reached in (("simulator", own), ("tight", tight)):
            simulator.judge_by(gate)
            simulator.begin(state, goal)
            assert simulator.distance() == pytest.approx(apart, abs=1e-6)
            assert simulator.solved() == reached
