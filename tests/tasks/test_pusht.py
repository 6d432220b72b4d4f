"""PushT: what is recorded, how a state is taken up again, what counts as reached, and the way through every command."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from commands import flat, lewm, lewm_here
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.evaluate import EvalResult
from lewm_cli.probe import ProbeResult, draw_samples
from lewm_cli.store import dataset_task, read_card
from lewm_cli.surprise import PerturbationResult, SurpriseResult
from lewm_cli.tasks import PUSHT, TASKS, Simulator, find_task
from lewm_cli.tasks.pusht.simulator import block_has_to_move, gap, reached, turn
from recordings import PUSHES as EPISODES
from synthetic import write_recording

pytest_plugins = ("recordings",)

SCHEMA = {
    "pixels": ((224, 224, 3), "uint8"),
    "action": ((2,), "float32"),
    "proprio": ((4,), "float32"),
    "state": ((7,), "float32"),
    "episode_idx": ((), "int64"),
    "step_idx": ((), "int64"),
}
ROWS = 125

POSES = arrays(float, 7, elements=st.floats(0, 2 * np.pi, exclude_max=True))


@pytest.fixture(scope="module")
def recorded(pushes: Path) -> Dataset:
    return open_dataset(pushes / "pusht" / "demos.h5", "pusht/demos")


@pytest.fixture(scope="module")
def columns(recorded: Dataset) -> dict[str, np.ndarray]:
    return {column.name: recorded.read(column.name, slice(None)) for column in recorded.columns}


@pytest.fixture(scope="module")
def simulator():
    return PUSHT.make_simulator()


# The frame, and the pusher


def test_frame_is_what_the_environment_renders(simulator: Simulator):
    generator = np.random.default_rng(0)
    for number in range(3):
        simulator.reset(np.random.SeedSequence([5, number]))
        if number:
            simulator.perturb("color", generator)
        for _ in range(5):
            simulator.step(simulator.random_action(generator))
            assert np.array_equal(simulator.frame(), simulator._environment.render())


@pytest.fixture(scope="module")
def pushed() -> list[tuple[np.ndarray, np.ndarray]]:
    """States (125, 7) and actions (124, 2) of episodes of the pusher."""
    simulator = PUSHT.make_simulator()
    simulator.demonstrate_by("pusher")
    episodes = [simulator.demonstrate(np.random.SeedSequence([0, k]), any_start=False) for k in range(12)]
    return [(one.columns["state"].astype(float), one.action[:-1]) for one in episodes]


def test_pusher_moves_as_much_as_the_released_expert_and_smoothly(pushed: list[tuple[np.ndarray, np.ndarray]]):
    actions = np.concatenate([taken for _, taken in pushed])
    assert 0.17 < actions.std() < 0.25  # released: 0.21, weak policy: 0.49
    assert np.abs(actions).max() < 0.8
    jerk = np.concatenate([np.diff(taken, axis=0) for _, taken in pushed]).std()
    assert jerk < 0.8 * actions.std()  # independent actions: 1.4 times


def test_pusher_pushes_and_turns_the_block_and_keeps_it_off_the_walls(pushed: list[tuple[np.ndarray, np.ndarray]]):
    for states, _ in pushed:
        assert np.ptp(states[:, 2:4], axis=0).max() > 10
        assert (states[:, :2] > 15).all()
        assert (states[:, :2] < 497).all()
        assert (states[:, 2:4] > 20).all()
        assert (states[:, 2:4] < 492).all()
    turns = [turn(states[k], states[k + 25]) for states, _ in pushed for k in range(0, 100, 25)]
    assert np.quantile(turns, 0.75) > np.radians(10)


def test_pusher_draws_everything_from_the_seed():
    first, second = PUSHT.make_simulator(), PUSHT.make_simulator()
    for one in (first, second):
        one.demonstrate_by("pusher")
    second.demonstrate(np.random.SeedSequence([9, 9]), any_start=True)  # what it did before has no say
    one, other = (each.demonstrate(np.random.SeedSequence([3, 1]), any_start=False) for each in (first, second))
    assert np.array_equal(one.action, other.action, equal_nan=True)
    assert np.array_equal(one.columns["state"], other.columns["state"])


def test_recording_names_the_policy_that_acted(tmp_path: Path):
    done = lewm(tmp_path, "collect", "pusht", "--episodes", 2, "--policy", "pusher", "--name", "pusht/pushes")
    assert done.code == 0, done.err
    assert open_dataset(tmp_path / "pusht" / "pushes.h5", "pushes").policy == PUSHT.demonstrators["pusher"]
    done = lewm(tmp_path, "collect", "pusht", "--episodes", 2, "--policy", "pushr")
    assert (done.code, "did you mean 'pusher'" in done.err) == (2, True), done.err
    done = lewm(tmp_path, "collect", "reacher", "--episodes", 1, "--policy", "pusher")
    assert "reacher has no policy 'pusher'" in done.err


# What counts as reached


def state(agent: tuple = (100, 100), block: tuple = (300, 300), angle: float = 1.0) -> np.ndarray:
    return np.array([*agent, *block, angle, 0, 0], float)


@pytest.mark.parametrize(
    ("goal", "near"),
    [
        (state(), True),
        (state(agent=(119, 100)), True),
        (state(agent=(120, 100)), False),
        (state(agent=(115, 100), block=(314, 300)), False),  # each within 20 px, together not
        (state(block=(300, 319)), True),
        (state(angle=1.0 + np.pi / 9 - 1e-6), True),
        (state(angle=1.0 + np.pi / 9 + 1e-6), False),
        (state(angle=1.0 + np.pi), False),
        (np.array([100, 100, 300, 300, 1, 300, -300], float), True),  # velocities do not matter
    ],
)
def test_reached_is_agent_and_block_together_and_the_turn(goal: np.ndarray, near: bool):
    assert reached(state(), goal) is near


def test_angles_are_compared_the_short_way_around():
    before, after = state(angle=2 * np.pi - 0.1), state(angle=0.1)
    assert turn(before, after) == pytest.approx(0.2)
    assert reached(before, after)


@given(POSES, POSES)
def test_turn_is_a_distance_on_the_circle(one: np.ndarray, other: np.ndarray):
    assert 0 <= turn(one, other) <= np.pi
    assert turn(one, other) == pytest.approx(turn(other, one), abs=1e-9)
    assert np.cos(turn(one, other)) == pytest.approx(np.cos(one[4] - other[4]), abs=1e-9)


@given(POSES.map(lambda pose: pose * 40), POSES.map(lambda pose: pose * 40))
@pytest.mark.slow
def test_rule_is_the_simulators_own(simulator, one: np.ndarray, other: np.ndarray):
    one[4], other[4] = one[4] % (2 * np.pi), other[4] % (2 * np.pi)
    theirs, _ = simulator._environment.eval_state(other, one)
    assert reached(one, other) == bool(theirs)


def test_moving_the_agent_alone_is_told_from_pushing():
    assert not block_has_to_move(state(), state(agent=(400, 20)))
    assert not block_has_to_move(state(), state(block=(319, 300)))
    assert block_has_to_move(state(), state(block=(320, 300)))
    assert block_has_to_move(state(angle=0.1), state(angle=2 * np.pi - 0.4))


# Telling it from other recordings


def test_recording_is_recognized_by_name_or_columns(tmp_path: Path):
    widths = {
        task.name: {name: np.zeros((174, width), np.float32) for name, width in task.recognized_by if name != "action"}
        for task in TASKS
    }
    for task in TASKS:
        path = write_recording(
            tmp_path / f"{task.name}-columns.h5", dims=dict(task.recognized_by)["action"], columns=widths[task.name]
        )
        assert dataset_task(open_dataset(path, "x")) is task
    released = write_recording(tmp_path / "pusht_expert_train.h5", dims=2)
    assert dataset_task(open_dataset(released, "x")) is PUSHT
    assert find_task("push-t") is PUSHT


def test_angle_is_probed_for_as_sine_and_cosine(tmp_path: Path):
    angles = np.linspace(0, 6.2, 174, dtype=np.float32)
    states = np.random.default_rng(0).normal(size=(174, 7)).astype(np.float32)
    states[:, 4] = angles
    path = write_recording(tmp_path / "x.h5", dims=2, columns={"state": states})
    samples = draw_samples(open_dataset(path, "x"), PUSHT, np.arange(6), frames=174, seed=0)
    read = {target.name: one for target, one in zip(samples.targets, samples.coordinates, strict=True)}
    assert np.array_equal(np.concatenate(samples.coordinates[:4], axis=1), states[samples.rows, :4])
    angles = angles[samples.rows]  # a velocity takes rows before it
    assert np.allclose(read["block angle"], np.stack([np.sin(angles), np.cos(angles)], axis=1))


# What is recorded


@pytest.mark.slow
def test_columns_are_those_of_the_released_recording(recorded: Dataset, columns: dict[str, np.ndarray]):
    assert {column.name: (column.shape, column.dtype) for column in recorded.columns} == SCHEMA
    assert recorded.lengths.tolist() == [ROWS] * EPISODES
    assert columns["episode_idx"].tolist() == np.repeat(np.arange(EPISODES), ROWS).tolist()
    assert columns["step_idx"].tolist() == list(range(ROWS)) * EPISODES
    assert np.array_equal(columns["proprio"], columns["state"][:, [0, 1, 5, 6]])
    assert (recorded.task, recorded.seed) == ("pusht", 0)
    assert "weak policy" in recorded.policy


@pytest.mark.slow
def test_recorded_values_are_in_their_ranges(recorded: Dataset, columns: dict[str, np.ndarray]):
    missing = np.zeros((recorded.rows, 2), bool)
    missing[recorded.offsets + ROWS - 1] = True
    assert np.array_equal(np.isnan(columns["action"]), missing)
    assert np.nanmax(np.abs(columns["action"])) <= 1
    angle = columns["state"][:, 4].astype(float)
    assert angle.min() >= 0
    assert angle.max() < 2 * np.pi
    agent = columns["state"][:, :2]  # between the walls, which would not hold it
    assert agent.min() > 5
    assert agent.max() < 506


@pytest.mark.slow
def test_block_is_pushed_and_frames_show_it(recorded: Dataset, columns: dict[str, np.ndarray]):
    block = columns["state"][:, 2:5].reshape(EPISODES, ROWS, 3)
    pushed = np.abs(np.diff(block, axis=1)).max(axis=2) > 0.5
    assert (pushed.any(axis=1)).sum() >= EPISODES - 2
    assert 0.1 < pushed.mean() < 0.6
    frames = columns["pixels"].reshape(EPISODES, ROWS, 224, 224, 3)
    assert (frames[:, 1:] != frames[:, :-1]).any(axis=(2, 3, 4)).mean() > 0.95
    slate_gray = (frames[:, 0] == (119, 136, 153)).all(axis=-1).sum(axis=(1, 2))
    assert slate_gray.min() > 200


@pytest.mark.slow
def test_content_does_not_depend_on_the_workers(recorded: Dataset, columns: dict[str, np.ndarray], tmp_path: Path):
    done = lewm(tmp_path, "collect", "pusht", "--episodes", 4, "--workers", 1)
    assert done.code == 0, done.err
    again = open_dataset(tmp_path / "pusht" / "demos.h5", "pusht/demos")
    for name, values in columns.items():
        same = np.array_equal(again.read(name, slice(None)), values[: 4 * ROWS], equal_nan=values.dtype.kind == "f")
        assert same, name
    other = lewm(tmp_path, "collect", "pusht", "--episodes", 1, "--seed", 1, "--any-room", "--workers", 1)
    assert other.code == 0, other.err
    assert other.err.splitlines()[-1] == "next: lewm train pusht --dataset pusht/demos-2"
    starts = open_dataset(tmp_path / "pusht" / "demos-2.h5", "x").read("state", slice(0, 1))
    assert not (columns["state"] == starts).all(axis=1).any()


@pytest.mark.slow
def test_nothing_touches_where_an_episode_starts_unless_any_start_will_do(simulator):
    def touching(any_start: bool) -> list[bool]:
        found = []
        for number in range(60):
            simulator._reset(number, any_start=any_start)
            found.append(simulator._environment.n_contact_points > 0)
        return found

    assert not any(touching(any_start=False))
    assert any(touching(any_start=True))


@pytest.mark.slow
def test_stable_worldmodel_reads_it(recorded: Dataset, columns: dict[str, np.ndarray]):
    from stable_worldmodel.data.formats.hdf5 import HDF5Dataset

    theirs = HDF5Dataset(path=recorded.path, frameskip=5, num_steps=4)
    assert set(theirs.column_names) == set(SCHEMA)
    clip = theirs[0]
    assert np.array_equal(clip["pixels"].permute(0, 2, 3, 1), columns["pixels"][0:20:5])
    assert np.array_equal(clip["action"].reshape(20, 2), columns["action"][:20])


# Taking up a recorded state


@pytest.mark.slow
def test_episode_simulated_again_is_the_recorded_one(simulator, columns: dict[str, np.ndarray]):
    for first in range(0, EPISODES * ROWS, ROWS):
        simulator.begin(columns["state"][first], columns["state"][first + ROWS - 1])
        for row in range(first, first + ROWS):
            assert np.array_equal(simulator.frame(), columns["pixels"][row]), row
            assert np.allclose(simulator._state, columns["state"][row], atol=1e-4), row
            assert np.allclose(simulator.proprio(), columns["proprio"][row], atol=1e-4), row
            simulator.step(columns["action"][row] if row < first + ROWS - 1 else np.zeros(2, np.float32))


@pytest.mark.slow
def test_any_recorded_state_and_goal_are_taken(simulator, columns: dict[str, np.ndarray]):
    states, frames = columns["state"], columns["pixels"].astype(int)
    for row in np.random.default_rng(0).choice(len(states) - 25, 60, replace=False):
        simulator.begin(states[row], states[row + 25])
        assert np.allclose(simulator._state, states[row], atol=1e-3)
        assert np.allclose(simulator.proprio(), columns["proprio"][row], atol=1e-3)
        assert np.array_equal(simulator.goal_proprio(), columns["proprio"][row + 25])
        assert simulator.position() == pytest.approx(states[row, :2] * 224 / 512, abs=1e-3)
        assert simulator.distance() == pytest.approx(gap(states[row], states[row + 25]), abs=1e-2)
        # Recorded in float32, an edge may fall a shade beside where it was.
        assert np.abs(simulator.frame() - frames[row]).max() <= 2
        assert np.abs(simulator.goal_frame() - frames[row + 25]).max() <= 2


@pytest.mark.slow
def test_recorded_actions_lead_from_any_row_to_where_they_led(simulator, columns: dict[str, np.ndarray]):
    """Except where the block was in contact: how it moved is not recorded."""
    states, actions = columns["state"], columns["action"]
    away, hits = [], []
    for row in np.random.default_rng(1).integers(0, ROWS - 25, 48) + ROWS * np.repeat(np.arange(EPISODES), 6):
        simulator.begin(states[row], states[row + 25])
        for action in actions[row : row + 25]:
            simulator.step(action)
        away.append(gap(simulator._state, states[row + 25]))
        hits.append(simulator.solved())
    assert np.median(away) < 0.1
    assert np.mean(hits) >= 0.8


@pytest.mark.slow
def test_state_that_does_not_stay_is_refused(simulator, monkeypatch: pytest.MonkeyPatch):
    start = state().astype(np.float32)
    simulator.begin(start, start)
    place = simulator._place
    monkeypatch.setattr(simulator, "_place", lambda wanted: place(wanted + np.float32([3, 0, 0, 0, 0, 0, 0])))
    with pytest.raises(LewmError, match=r"did not take .* reinstall stable-worldmodel==0\.1\.1"):
        simulator.begin(start, start)


@pytest.mark.slow
def test_goal_is_reached_by_being_there(simulator, columns: dict[str, np.ndarray]):
    start, goal = columns["state"][10], columns["state"][60]
    simulator.begin(goal, goal)
    assert simulator.solved()
    assert simulator.distance() < 1e-3
    assert simulator.route_valid(np.zeros((3, 2))) is None
    simulator.begin(start, goal)
    assert simulator.solved() == reached(start, goal)
    assert simulator.groups(start, start) == ("block may stay",)
    assert simulator.groups(start, start + np.float32([0, 0, 30, 0, 0, 0, 0])) == ("block has to move",)


@pytest.mark.slow
def test_actions_are_relative_and_not_clipped(simulator):
    start = state(agent=(100, 450), block=(300, 150))
    simulator.begin(start, start)
    for _ in range(5):
        simulator.step(np.array([0.0, 0.0], np.float32))
    assert np.allclose(simulator._state[:2], (100, 450), atol=1e-6)
    moved = []
    for action in (1.0, 2.0):
        simulator.begin(start, start)
        simulator.step(np.array([action, 0.0], np.float32))
        moved.append(simulator._state[0] - 100)
    assert moved[0] > 20
    assert moved[1] == pytest.approx(2 * moved[0])
    generator = np.random.default_rng(0)
    drawn = np.stack([simulator.random_action(generator) for _ in range(500)])
    assert (drawn.shape, drawn.dtype) == ((500, 2), np.float32)
    assert drawn.min(axis=0) == pytest.approx([-1, -1], abs=0.05)
    assert drawn.max(axis=0) == pytest.approx([1, 1], abs=0.05)


# Perturbations


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_teleport_moves_agent_and_block_to_free_places(simulator, columns: dict[str, np.ndarray], seed: int):
    before = columns["state"][40 + 130 * seed]
    simulator.begin(before, columns["state"][60])
    shown = simulator.frame()
    size = simulator.perturb("teleport", np.random.default_rng(seed))
    after = simulator._state
    assert size == pytest.approx(gap(before, after), abs=1e-2)
    assert min(np.linalg.norm((after - before)[part]) for part in (slice(0, 2), slice(2, 4))) >= 75 - 1e-3
    assert after[4:] == pytest.approx(before[4:], abs=1e-3)
    assert simulator._environment.n_contact_points == 0
    assert (simulator.frame() != shown).any(axis=2).sum() > 300
    simulator.begin(before, columns["state"][60])
    assert simulator.perturb("teleport", np.random.default_rng(seed)) == size
    assert np.array_equal(simulator._state, after)


@pytest.mark.slow
def test_color_is_the_blocks_until_the_next_episode(simulator, columns: dict[str, np.ndarray]):
    start = columns["state"][40]
    simulator.begin(start, start)
    untouched, place = simulator.frame(), simulator._state
    size = simulator.perturb("color", np.random.default_rng(0))
    changed = (simulator.frame() != untouched).any(axis=2)
    assert size >= 128
    assert np.array_equal(simulator._state, place)
    slate_gray = (untouched == (119, 136, 153)).all(axis=2)
    assert changed[slate_gray].all()
    royal_blue = (untouched == (65, 105, 225)).all(axis=2)
    assert royal_blue.any()
    assert not changed[royal_blue].any()
    simulator.begin(start, start)
    assert np.array_equal(simulator.frame(), untouched)


# Through the commands


@pytest.fixture(scope="module")
def world(pushes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the recording and a run trained on it for a few steps."""
    home = tmp_path_factory.mktemp("world") / "home"
    shutil.copytree(pushes, home)
    settings = ("--set", "monitor.every=10", "--set", "monitor.clips=32", "--set", "data.validation=0.65")
    done = lewm_here(home, "train", "pusht", "--preset", "small", "--steps", 10, *settings)
    assert done.code == 0, done.err
    return home


RUN = "pusht/lewm"


@pytest.mark.slow
def test_run_can_be_evaluated(world: Path, tmp_path: Path):
    assert read_card(world / "pusht" / "lewm.safetensors").inputs.task == "pusht"
    settings = ["--set", "planner.candidates=16", "--set", "planner.elites=4", "--set", "planner.iterations=2"]
    done = lewm_here(world, "eval", RUN, "--episodes", 4, "--record", 1, "--video", tmp_path / "videos", *settings)
    assert done.code == 0, done.err
    assert "route valid" not in done.out
    assert "block has to move" in flat(done.out)
    stored = max((world / "pusht" / "lewm.run" / "results").glob("eval-*.json"))
    result = EvalResult.model_validate_json(stored.read_text(encoding="utf-8"))
    assert result.overall.route_valid is None
    assert len(result.episodes) == len(list((tmp_path / "videos").iterdir())) == 4
    states = open_dataset(world / "pusht" / "demos.h5", "x").read("state", slice(None))
    for one in result.episodes:
        assert one.goal_row == one.start_row + 25
        assert one.groups == (
            "block has to move" if block_has_to_move(states[one.start_row], states[one.goal_row]) else "block may stay",
        )
        assert one.solved_at_start == reached(states[one.start_row], states[one.goal_row])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["teleport", "color"])
def test_run_is_surprised(world: Path, name: str):
    done = lewm_here(world, "surprise", "pusht/demos", "--perturb", name, "--episodes", 2, "--json")
    assert done.code == 0, done.err
    result = PerturbationResult.model_validate(done.json())
    recorded = lewm_here(world, "surprise", "pusht/demos", "--json")
    assert recorded.code == 0, recorded.err
    curves = {one.episode: one.curves for one in SurpriseResult.model_validate(recorded.json()).episodes}
    for one in result.episodes:
        assert one.size >= (106 if name == "teleport" else 128)
        # What is simulated again is what was recorded.
        for detector in ("model", "latent"):
            assert one.untouched[detector] == pytest.approx(curves[one.episode][detector], rel=1e-3)
        assert one.perturbed["pixels"][: one.event] == one.untouched["pixels"][: one.event]
        assert one.perturbed["pixels"][one.event] > one.untouched["pixels"][one.event]


@pytest.mark.slow
def test_run_can_be_probed(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lewm_cli.probe.fitted.STEPS", 20)
    done = lewm_here(world, "probe", RUN, "--frames", 200)
    assert done.code == 0, done.err
    assert "agent x, px" in done.out
    assert "block angle, deg" in done.out
    stored = max((world / "pusht" / "lewm.run" / "results").glob("probe-*.json"))
    result = ProbeResult.model_validate_json(stored.read_text(encoding="utf-8"))
    assert [target.name for target in result.targets] == [target.name for target in PUSHT.probe_targets]
    page = lewm_here(world, "report", RUN, "--output", tmp_path / "page.html")
    assert page.code == 0, page.err
    assert "block angle" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_recording_is_whole_and_has_the_task(world: Path):
    assert lewm_here(world, "verify", "pusht/demos").code == 0
    shown = lewm_here(world, "show", "pusht/demos", "--json").json()
    assert (shown["task"], shown["episodes"]) == ("pusht", EPISODES)
    twoworlds = write_recording(
        world / "other.h5", dims=2, task="tworoom", columns={"proprio": np.zeros((174, 2), np.float32)}
    )
    refused = lewm_here(world, "eval", RUN, "--dataset", "other").sentence()
    assert "other is a recording of tworoom, and pusht/lewm was trained on pusht" in refused
    twoworlds.unlink()


def test_name_of_the_released_recording_is_never_taken(tmp_path: Path):
    refused = lewm_here(tmp_path, "collect", "pusht", "--episodes", 1, "--name", "pusht_expert_train")
    assert "is the name of a released dataset" in refused.sentence(2)
    assert "did you mean 'pusht'" in lewm_here(tmp_path, "collect", "pushed", "--episodes", 1).sentence()


# The tight success criterion

GOAL = (200, 200, 300, 300, 1.0, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "own", "tight"),
    [
        (GOAL, True, True),
        ((218, 200, 300, 300, 1.0, 0, 0), True, True),  # of the agent no more is asked
        ((200, 200, 309, 300, 1.0, 0, 0), True, True),
        ((200, 200, 311, 300, 1.0, 0, 0), True, False),
        ((200, 200, 300, 300, 1.16, 0, 0), True, True),
        ((200, 200, 300, 300, 1.19, 0, 0), True, False),
        ((200, 200, 300, 300, 1.4, 0, 0), False, False),
    ],
)
def test_tight_gate_of_pusht_asks_for_the_pose_of_the_block(
    pusht: Simulator, state: tuple[float, ...], own: bool, tight: bool
):
    for gate, solved in (("simulator", own), ("tight", tight)):
        pusht.judge_by(gate)
        pusht.begin(np.array(state, float), np.array(GOAL, float))
        assert pusht.solved() == solved


@pytest.fixture(scope="module")
def pusht() -> Simulator:
    return PUSHT.make_simulator()
