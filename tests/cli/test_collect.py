"""What `lewm collect` records is what the simulator did, and nothing half-written is ever taken for a recording."""

import os
import random
import signal
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from commands import alive, descendants, ended, left_behind, lewm, lewm_here, running, wait_until
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.tasks import Simulator, find_task

pytest_plugins = ("recordings",)
pytestmark = pytest.mark.slow

SCHEMA = {
    "pixels": ((224, 224, 3), "uint8"),
    "action": ((2,), "float32"),
    "proprio": ((2,), "float32"),
    "pos_agent": ((2,), "float32"),
    "pos_target": ((2,), "float32"),
    "observation": ((10,), "float64"),
    "distance_to_target": ((), "float32"),
    "reward": ((), "float32"),
    "terminated": ((), "bool"),
    "truncated": ((), "bool"),
    "ep_idx": ((), "int64"),
    "step_idx": ((), "int64"),
}
WALL = 112.0
LZ4, FLETCHER32 = 32004, 3


def recording_of(home: Path) -> Dataset:
    return open_dataset(home / "tworoom" / "demos.h5", "tworoom/demos")


@pytest.fixture(scope="module")
def recorded(demos: Path) -> Dataset:
    return recording_of(demos)


@pytest.fixture(scope="module")
def columns(recorded: Dataset) -> dict[str, np.ndarray]:
    return {column.name: recorded.read(column.name, slice(None)) for column in recorded.columns}


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return find_task("tworoom").make_simulator()


def starts_of(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    agent, target = (dataset.read(name, slice(None)) for name in ("pos_agent", "pos_target"))
    return agent[dataset.offsets], target[dataset.offsets]


# What is recorded


def test_columns_are_those_of_the_released_recording(recorded: Dataset):
    assert {column.name: (column.shape, column.dtype) for column in recorded.columns} == SCHEMA


def test_frames_are_compressed_one_chunk_each(recorded: Dataset):
    with recorded.opened() as file:
        pixels = file["pixels"]
        filters = pixels.id.get_create_plist()
        assert pixels.chunks == (1, 224, 224, 3)
        assert [filters.get_filter(number)[0] for number in range(filters.get_nfilters())] == [LZ4, FLETCHER32]


def test_every_episode_is_there_from_its_reset_on(recorded: Dataset, columns: dict[str, np.ndarray]):
    assert recorded.episodes == 12
    assert recorded.offsets.tolist() == (np.cumsum(recorded.lengths) - recorded.lengths).tolist()
    assert {len(values) for values in columns.values()} == {recorded.rows}
    for episode, (offset, length) in enumerate(zip(recorded.offsets, recorded.lengths, strict=True)):
        rows = slice(offset, offset + length)
        assert set(columns["ep_idx"][rows]) == {episode}
        assert columns["step_idx"][rows].tolist() == list(range(length))
        # The reset frame is where nothing has been rewarded or ended yet; only the last row ends.
        ends = columns["terminated"][rows] | columns["truncated"][rows]
        assert ends.tolist() == [False] * (length - 1) + [True]
        assert length <= 101


def test_only_the_last_action_of_an_episode_is_missing(recorded: Dataset, columns: dict[str, np.ndarray]):
    missing = np.isnan(columns["action"])
    expected = np.zeros_like(missing)
    expected[recorded.offsets + recorded.lengths - 1] = True
    assert np.array_equal(missing, expected)
    assert np.nanmax(np.abs(columns["action"])) <= 1.0


def test_columns_that_say_the_same_agree(columns: dict[str, np.ndarray]):
    assert np.array_equal(columns["proprio"], columns["pos_agent"])
    assert np.array_equal(columns["observation"][:, :2], columns["pos_agent"])
    assert np.array_equal(columns["observation"][:, 2:4], columns["pos_target"])
    distance = np.linalg.norm(columns["pos_agent"] - columns["pos_target"], axis=1)
    assert np.allclose(columns["distance_to_target"], distance, atol=1e-3)
    assert np.array_equal(columns["terminated"], distance < 16)


def test_file_says_where_it_comes_from(recorded: Dataset):
    with recorded.opened() as file:
        attributes = dict(file.attrs)
    assert attributes["task"] == recorded.task == "tworoom"
    assert attributes["seed"] == recorded.seed == 0
    assert "action noise 2.0" in attributes["policy"]
    assert "stable-worldmodel 0.1.1" in attributes["versions"]
    assert f"torch {version('torch')}" in attributes["versions"]


def test_start_and_target_lie_in_different_rooms(recorded: Dataset):
    agent, target = starts_of(recorded)
    assert ((agent[:, 0] < WALL) != (target[:, 0] < WALL)).all()


def test_any_room_takes_the_simulators_own_resets(other_demos: Path):
    agent, target = starts_of(recording_of(other_demos))
    same = (agent[:, 0] < WALL) == (target[:, 0] < WALL)
    assert same.any()
    assert not same.all()


def test_content_does_not_depend_on_the_workers(recorded: Dataset, tmp_path: Path):
    done = lewm(tmp_path, "collect", "tworoom", "--episodes", 12, "--seed", 0, "--workers", 1)
    assert done.code == 0, done.err
    assert done.err.splitlines()[-1] == "next: lewm train tworoom --dataset tworoom/demos"
    again = recording_of(tmp_path)
    assert again.path.read_bytes() == recorded.path.read_bytes()


def test_other_seed_gives_other_episodes(recorded: Dataset, other_demos: Path):
    agents = [{tuple(start) for start in starts_of(dataset)[0]} for dataset in (recorded, recording_of(other_demos))]
    assert [len(starts) for starts in agents] == [12, 12]
    assert not agents[0] & agents[1]


def test_varied_colors_change_nothing_but_frames(recorded: Dataset, columns: dict[str, np.ndarray], tmp_path: Path):
    files = []
    for workers in (1, 2):
        home = tmp_path / str(workers)
        done = lewm(home, "collect", "tworoom", "--episodes", 3, "--vary", "color", "--workers", workers)
        assert done.code == 0, done.err
        files.append(recording_of(home).path.read_bytes())
    assert files[0] == files[1]
    varied, rows = recording_of(home), slice(int(recorded.offsets[3]))
    assert (varied.varies, recorded.varies) == ("color", None)
    for name in SCHEMA:
        same = np.array_equal(varied.read(name, slice(None)), columns[name][rows], equal_nan=name == "action")
        assert same == (name != "pixels"), name


def test_stable_worldmodel_reads_it(recorded: Dataset, columns: dict[str, np.ndarray]):
    from stable_worldmodel.data.formats.hdf5 import HDF5Dataset

    theirs = HDF5Dataset(path=recorded.path, frameskip=5, num_steps=4)
    assert set(theirs.column_names) == set(SCHEMA)
    assert len(theirs) == sum(max(0, length - 20 + 1) for length in recorded.lengths)
    clip = theirs[0]
    assert np.array_equal(clip["pixels"].permute(0, 2, 3, 1), columns["pixels"][0:20:5])
    assert np.array_equal(clip["action"].reshape(20, 2), columns["action"][:20])


# The recorded states and actions are those of the simulator


def test_recorded_state_renders_the_recorded_frame(
    simulator: Simulator, recorded: Dataset, columns: dict[str, np.ndarray]
):
    for row in np.random.default_rng(0).choice(recorded.rows, 40, replace=False):
        simulator.begin(columns["pos_agent"][row], columns["pos_target"][row])
        assert np.array_equal(simulator.frame(), columns["pixels"][row]), row


def test_recorded_action_leads_to_the_next_recorded_position(
    simulator: Simulator, recorded: Dataset, columns: dict[str, np.ndarray]
):
    for offset, length in list(zip(recorded.offsets, recorded.lengths, strict=True))[:4]:
        simulator.begin(columns["pos_agent"][offset], columns["pos_target"][offset])
        for row in range(offset, offset + length - 1):
            simulator.step(columns["action"][row])
            assert np.allclose(simulator.position(), columns["pos_agent"][row + 1], atol=1e-3), row
        assert np.array_equal(simulator.frame(), columns["pixels"][offset + length - 1])


# What goes wrong


def start(home: Path, workers: int = 1):
    return running(home, "collect", "tworoom", "--episodes", 400, "--workers", workers, "--name", "tworoom/cut")


def nothing_recorded(home: Path) -> bool:
    return lewm_here(home, "ls", "--json").json()["datasets"] == []


def moments(count: int) -> Iterator[float]:
    """Seconds after the start: importing, starting simulators, and well into recording."""
    generator = random.Random(count)
    for number in range(count):
        yield generator.uniform(number, number + 1) / count * 6.0


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.soak)])
def test_killed_recording_is_never_taken_for_one(tmp_path: Path, kills: int):
    for moment in moments(kills):
        with start(tmp_path) as process:
            workers = set()
            deadline = time.monotonic() + moment
            while time.monotonic() < deadline and process.poll() is None:
                workers |= descendants(process.pid)
                time.sleep(0.01)
            workers |= descendants(process.pid)
            os.kill(process.pid, signal.SIGKILL)
            assert ended(process).code == -signal.SIGKILL
        assert nothing_recorded(tmp_path)
        wait_until(lambda left=workers: not any(alive(worker) for worker in left))
    done = lewm(tmp_path, "collect", "tworoom", "--episodes", 1, "--name", "tworoom/cut")
    assert done.code == 0, done.err
    assert left_behind(tmp_path) == []
    assert [entry["episodes"] for entry in lewm_here(tmp_path, "ls", "--json").json()["datasets"]] == [1]


@pytest.mark.parametrize(
    ("number", "whole_group", "when"),
    [
        (signal.SIGINT, True, "starting"),
        (signal.SIGINT, False, "recording"),
        (signal.SIGTERM, True, "starting"),
        (signal.SIGTERM, True, "recording"),
    ],
)
def test_interrupted_recording_leaves_nothing(tmp_path: Path, number: int, whole_group: bool, when: str):
    with start(tmp_path, workers=2 if when == "starting" else 1) as process:
        if when == "starting":
            wait_until(lambda: len(descendants(process.pid)) >= 2, process)
        else:
            wait_until(lambda: any(part.stat().st_size > 2**20 for part in left_behind(tmp_path)), process)
        workers = descendants(process.pid)
        (os.killpg if whole_group else os.kill)(process.pid, number)
        done = ended(process)
    assert done.sentence(code=128 + number).endswith("nothing half-written was left behind")
    assert left_behind(tmp_path) == []
    assert nothing_recorded(tmp_path)
    wait_until(lambda: not any(alive(worker) for worker in workers))


def test_full_disk_is_a_sentence(small_disk):
    home = small_disk("1m")
    done = lewm(home, "collect", "tworoom", "--episodes", 6, "--workers", 1)
    assert "the disk is full" in done.sentence()
    assert left_behind(home) == []
    assert nothing_recorded(home)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["twoorom", "--episodes", 1], 1, "there is no task 'twoorom'"),
        (["generic", "--episodes", 1], 1, "there is no task 'generic' with a simulator"),
        (["tworoom", "--episodes", 0], 2, "--episodes"),
        (["tworoom", "--episodes", 1, "--workers", 0], 2, "--workers"),
        (["tworoom", "--episodes", 1, "--vary", "speed"], 2, "'speed' is not one of 'color'"),
        (["tworoom", "--episodes", 1, "--name", "tworoom"], 2, "released dataset"),
        (["tworoom", "--episodes", 1, "--name", "mine/tworoom"], 2, "released dataset"),
        (["tworoom", "--episodes", 1, "--name", "tworoom/demos.h5"], 2, "'tworoom/demos'"),
        (["tworoom", "--episodes", 1, "--name", "../demos"], 2, "cannot name a dataset"),
    ],
)
def test_what_cannot_be_recorded_is_refused(tmp_path: Path, arguments: list, code: int, said: str):
    assert said in lewm_here(tmp_path, "collect", *arguments).sentence(code)
    assert list(tmp_path.iterdir()) == []


def test_recordings_are_never_overwritten(demos: Path):
    path = demos / "tworoom" / "demos.h5"
    before = path.stat().st_mtime_ns
    refused = lewm_here(demos, "collect", "tworoom", "--episodes", 1, "--name", "tworoom/demos")
    assert "'tworoom/demos' exists and recordings are never overwritten" in refused.sentence()
    assert path.stat().st_mtime_ns == before


def test_second_recording_under_one_name_is_refused(tmp_path: Path):
    path = tmp_path / "tworoom" / "cut.h5"
    with start(tmp_path) as process:
        wait_until(lambda: bool(left_behind(tmp_path)), process)
        refused = lewm_here(tmp_path, "collect", "tworoom", "--episodes", 1, "--name", "tworoom/cut")
        assert "another process is recording cut.h5" in refused.sentence()
        assert process.poll() is None
        assert left_behind(tmp_path) != []
    assert not path.exists()
