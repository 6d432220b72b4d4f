"""Recordings of other tools are recognized, and the commands in their sentences import them."""

import re
import shlex
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import h5py
import imageio.v3 as imageio
import numpy as np
import pytest

from commands import lewm_here
from lewm_cli.data import Dataset, open_dataset
from synthetic import write_recording

GUIDE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")

LENGTHS = (5, 4, 6)
OFFSETS = np.cumsum(LENGTHS) - LENGTHS
FRAMES = np.zeros((sum(LENGTHS), 16, 16, 3), np.uint8)
FRAMES[:] = np.linspace(0, 250, len(FRAMES)).astype(np.uint8)[:, None, None, None]
ACTIONS = np.random.default_rng(1).normal(size=(sum(LENGTHS), 3)).astype(np.float32)
OBLONG = np.concatenate([FRAMES[:, :, :4] * 0, FRAMES, FRAMES[:, :, :4] * 0], 2)
"""The same with bars at both sides."""

FIXTURES = Path(__file__).parents[1] / "fixtures"

EPISODES = tuple(slice(offset, offset + length) for offset, length in zip(OFFSETS, LENGTHS, strict=True))


def section(heading: str) -> list[str]:
    """The programs under a heading of the guide."""
    body = re.split(rf"^##+ {heading}$", GUIDE, flags=re.MULTILINE)[1]
    body = re.split(r"^##+ ", body, flags=re.MULTILINE)[0]
    return re.findall(r"^```python\n(.*?)^```", body, re.MULTILINE | re.DOTALL)


def robomimic() -> str:
    with h5py.File("robomimic.hdf5", "w") as file:
        for number, rows in enumerate(EPISODES):
            file[f"data/demo_{number}/actions"] = ACTIONS[rows]
            file[f"data/demo_{number}/obs/agentview_image"] = FRAMES[rows]
            file[f"data/demo_{number}/obs/robot0_eef_pos"] = ACTIONS[rows]
        file["mask/train"] = np.array([b"demo_0"])
    return "robomimic.hdf5"


def aloha() -> str:
    for number, rows in enumerate(EPISODES):
        with h5py.File(f"episode_{number}.hdf5", "w") as file:
            file["action"], file["observations/qpos"] = ACTIONS[rows], ACTIONS[rows]
            file["observations/images/top"] = OBLONG[rows]
    return "episode_0.hdf5"


def aloha_compressed() -> str:
    for number, rows in enumerate(EPISODES):
        images = [cv2.imencode(".jpg", frame)[1] for frame in OBLONG[rows]]
        longest = max(map(len, images))
        with h5py.File(f"episode_{number}.hdf5", "w") as file:
            file["action"] = ACTIONS[rows]
            file["observations/images/top"] = np.array([np.pad(image, (0, longest - len(image))) for image in images])
    return "."


def minari() -> str:
    with h5py.File("main_data.hdf5", "w") as file:
        for number, rows in enumerate(EPISODES):
            file[f"episode_{number}/observations/pixels"] = FRAMES[rows]
            file[f"episode_{number}/actions"] = ACTIONS[rows][:-1]
            file[f"episode_{number}/terminations"] = np.zeros(len(ACTIONS[rows]) - 1, bool)
    return "main_data.hdf5"


def lerobot(version: str) -> str:
    shutil.copytree(FIXTURES / f"lerobot_{version}", "lerobot")
    return "lerobot"


def write_video(path: Path, frames: np.ndarray) -> None:
    imageio.imwrite(path, frames, plugin="FFMPEG", fps=10, codec="libx264", macro_block_size=8)


def ogbench() -> str:
    ends = np.isin(np.arange(len(FRAMES)), np.cumsum(LENGTHS) - 1)
    np.savez("visual.npz", observations=FRAMES, actions=ACTIONS, terminals=ends)
    return "visual.npz"


def lance() -> str:
    from stable_worldmodel.data.formats.lance import LanceWriter

    with LanceWriter("demos.lance") as writer:
        for rows in EPISODES:
            writer.write_episode({"pixels": list(FRAMES[rows]), "action": list(ACTIONS[rows])})
    return "demos.lance"


def zarr() -> str:
    Path("replay_buffer.zarr", "data", "img").mkdir(parents=True)
    Path("replay_buffer.zarr", ".zgroup").write_text("{}")
    data = {"img": FRAMES.astype(np.float32), "action": ACTIONS}
    arrays = {"data": data, "meta/episode_ends": np.cumsum(LENGTHS)}
    stand_in = types.ModuleType("zarr")
    stand_in.open = lambda path, mode: arrays if Path(path).samefile("replay_buffer.zarr") else None
    sys.modules["zarr"] = stand_in
    return "replay_buffer.zarr"


def rlds() -> str:
    Path("bridge/1.0.0").mkdir(parents=True)
    Path("bridge/1.0.0/features.json").write_text("{}")
    return "bridge/1.0.0"


def videos() -> str:
    for number, rows in enumerate(EPISODES):
        write_video(Path(f"take-{number}.mp4"), OBLONG[rows])
        np.savetxt(f"take-{number}.csv", ACTIONS[rows], delimiter=",")
    return "take-0.mp4"


def images() -> str:
    for number, rows in enumerate(EPISODES):
        folder = Path(f"episode-{number}")
        folder.mkdir()
        np.savetxt(folder / "actions.csv", ACTIONS[rows], delimiter=",")
        for row, frame in enumerate(OBLONG[rows]):
            imageio.imwrite(folder / f"{row:03d}.png", frame)
    return "episode-0"


IMPORTED = {
    "robomimic": (robomimic, "data/demo_0/obs/agentview_image"),
    "ALOHA": (aloha, "observations/images/top"),
    "ALOHA with JPEG images": (aloha_compressed, "episode_0.hdf5"),
    "Minari": (minari, "episode_0/observations/pixels"),
    "OGBench": (ogbench, "visual.npz"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path / "home"))
    yield tmp_path
    sys.modules.pop("zarr", None)


def imported(folder: Path, command: str) -> Dataset:
    """The recording that a command makes which a sentence offers."""
    words = shlex.split(command)
    assert words[:2] == ["lewm", "import"], command
    result = lewm_here(folder / "home", *words[1:], "--name", "made", "--workers", 1)
    assert result.code == 0, result.err
    return open_dataset(folder / "home" / "made.h5", "made")


def assert_same(dataset: Dataset, near: int = 0) -> None:
    assert dataset.lengths.tolist() == list(LENGTHS)
    assert np.abs(dataset.read("pixels", slice(None)).astype(int) - FRAMES).max() <= near
    taken = ~np.isnan(dataset.actions)
    assert taken.sum() >= ACTIONS.size - 3 * len(LENGTHS)
    assert np.allclose(dataset.actions[taken], ACTIONS[taken], atol=1e-6)


@pytest.mark.parametrize("layout", IMPORTED)
def test_layout_is_named_and_the_command_of_the_sentence_imports_it(folder: Path, layout: str):
    make, held = IMPORTED[layout]
    said = lewm_here(folder / "home", "train", make()).sentence()
    assert held in said
    assert_same(imported(folder, said[said.index("lewm import") :]), near=3 * ("JPEG" in layout))


@pytest.mark.parametrize("version", ["v21", "v30"])
def test_lerobot_folder_is_named_with_its_cameras_and_one_of_them_is_imported(folder: Path, version: str):
    said = lewm_here(folder / "home", "train", lerobot(version)).sentence()
    assert "is a LeRobot data set (observation.images." in said
    assert "--camera observation.images." in said
    assert imported(folder, said[said.index("lewm import") :]).episodes == 3


def test_zarr_folder_is_made_npz_by_the_line_of_the_sentence(folder: Path):
    said = lewm_here(folder / "home", "train", zarr()).sentence()
    assert lewm_here(folder / "home", "import", "replay_buffer.zarr").sentence().endswith(said.partition("; ")[2])
    program, _, command = said.partition("of it: ")[2].partition("; then: ")
    exec(shlex.split(program)[2], {})
    assert_same(imported(folder, command))


@pytest.mark.slow
def test_lance_folder_is_converted_by_the_line_of_the_sentence(folder: Path):
    said = lewm_here(folder / "home", "import", lance()).sentence()
    assert "demos.lance is a Lance folder" in said
    exec(shlex.split(said.partition("of it: ")[2])[2], {})
    assert_same(open_dataset(folder / "demos.h5", "demos"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (rlds, "openx2lerobot of the project any4lerobot makes a LeRobot data set of it"),
        (lambda: write("bag/a.mcap", b"\x89MCAP0\r\n"), "with the rosbags library"),
        (lambda: write("a.bag", b"#ROSBAG V2.0\n") + "/a.bag", "with the rosbags library"),
        (lambda: write("a.npy", b"\x93NUMPY") + "/a.npy", "with numpy.savez"),
        (lambda: write("a.h5", b"version https://git-lfs.github.com/spec/v1\n") + "/a.h5", "git lfs pull"),
        (lambda: write("a.mat", b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM") + "/a.mat", "-v7.3"),
    ],
)
def test_what_is_not_imported_is_said_with_the_way_to_what_is(folder: Path, make: Callable[[], str], said: str):
    assert said in lewm_here(folder / "home", "import", made := make()).sentence()
    assert said in lewm_here(folder / "home", "train", made).sentence()


def write(name: str, content: bytes) -> str:
    """Write a file, and return its folder."""
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_bytes(content)
    return str(Path(name).parent)


@pytest.mark.parametrize(("make", "held"), [(videos, "take-0.mp4"), (images, "000.png")])
def test_videos_and_images_are_said_to_be_imported_with_their_actions(folder: Path, make: Callable[[], str], held: str):
    said = lewm_here(folder / "home", "train", made := make()).sentence()
    assert held in said
    assert said.endswith(f"lewm import {folder / made}")


def test_recordings_without_frames_are_said_to_be_rendered(folder: Path):
    with h5py.File("states.hdf5", "w") as file:
        file["data/demo_0/actions"], file["data/demo_0/obs/robot0_eef_pos"] = ACTIONS, ACTIONS
    said = lewm_here(folder / "home", "train", "states.hdf5").sentence()
    assert (
        "with states and no frames; render them with dataset_states_to_obs.py of robomimic, then: lewm import" in said
    )
    assert "holds no frames" in lewm_here(folder / "home", "import", "states.hdf5").sentence()


def test_file_with_other_names_is_imported_by_naming_them(folder: Path):
    with h5py.File("own.h5", "w") as file:
        file["obs/rgb"], file["act"], file["episode_id"] = FRAMES, ACTIONS, np.repeat([4, 7, 9], LENGTHS)
    said = lewm_here(folder / "home", "train", "own.h5").sentence()
    command = said[said.index("lewm import") :].partition(";")[0]
    assert "--map pixels=obs/rgb" in command
    assert_same(imported(folder, command.replace("action=COLUMN", "action=act")))


def test_flat_files_of_d4rl_are_read_as_they_are(folder: Path):
    path = write_recording(
        folder / "d4rl.hdf5",
        LENGTHS,
        columns={
            **dict.fromkeys(("pixels", "action", "ep_len", "ep_offset")),
            "observations": FRAMES,
            "next_observations": FRAMES,
            "actions": ACTIONS,
            "terminals": np.zeros(len(FRAMES), bool),
            "timeouts": np.isin(np.arange(len(FRAMES)), np.cumsum(LENGTHS) - 1),
        },
    )
    dataset = open_dataset(path, "d4rl")
    assert dataset.lengths.tolist() == list(LENGTHS)
    assert dataset.notes == (
        "frames are read from observations",
        "actions are read from actions",
        "3 episodes read from terminals and timeouts",
    )
    with h5py.File(path, "a") as file:
        del file["observations"]
        file["observations"] = ACTIONS
    said = lewm_here(folder, "show", path).sentence()
    assert "the layout of D4RL with states and no frames; render them with the environment that they are of" in said


@pytest.mark.parametrize(
    ("frames", "more"),
    [
        (OBLONG, ""),
        (FRAMES.astype(np.uint16) * 257, " --white 65535"),
        (np.array([cv2.imencode(".png", frame[..., ::-1])[1].tobytes() for frame in OBLONG]), ""),
    ],
)
def test_frames_that_a_recording_cannot_have_are_said_to_be_imported(folder: Path, frames: np.ndarray, more: str):
    write_recording(folder / "recording.h5", LENGTHS, columns={"pixels": frames, "action": ACTIONS, "state": ACTIONS})
    said = lewm_here(folder, "show", "recording.h5").sentence()
    assert "lewm import" in said
    dataset = imported(folder, f"lewm import recording.h5{more}")
    assert_same(dataset)
    assert "state" in {column.name for column in dataset.columns}


def test_program_of_the_guide_converts_frames_of_other_shapes(folder: Path):
    both = np.stack([FRAMES, FRAMES[::-1]], axis=1)
    write_recording(folder / "recording.h5", LENGTHS, columns={"pixels": both, "action": ACTIONS, "state": ACTIONS})
    assert "#frames-of-other-shapes" in lewm_here(folder, "show", "recording.h5").sentence()
    exec(section("Frames of other shapes")[0], {})
    dataset = open_dataset(folder / "converted.h5", "converted")
    assert {column.name for column in dataset.columns} == {"pixels", "action", "state"}
    assert_same(dataset)


def test_programs_of_the_guide_mend_episodes_and_actions(folder: Path):
    path = write_recording(folder / "recording.h5", (40,) * 6, columns={"ep_offset": None, "ep_idx": np.arange(240)})
    assert "#episodes" in lewm_here(folder, "show", path).sentence()
    exec(section("Episodes")[0], {})
    assert open_dataset(path, "x").lengths.tolist() == [40] * 6
    with h5py.File(path, "a") as file:
        actions = file["action"][()]
        del file["action"]
        file["action"] = actions[:-1]
    assert "#one-action-too-few-or-too-many" in lewm_here(folder, "show", path).sentence()
    exec(section("One action too few or too many")[0], {})
    assert np.isnan(open_dataset(path, "x").actions[39::40]).all()
    assert np.array_equal(open_dataset(path, "x").actions[:39], actions[:39])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder.mkdir(), "is a folder (empty)"),
        (
            lambda folder: write_recording(folder / "pick.h5"),
            "(pick.h5), and a recording is one HDF5 file; name the one that is meant, or join them",
        ),
        (lambda folder: (folder.mkdir(), (folder / "a.mcap").write_bytes(b"\x89MCAP0\r\n")), "is a ROS bag (a.mcap)"),
        (lambda folder: (folder / "frames").mkdir(parents=True), "is a folder (frames)"),
    ],
)
def test_other_folders_are_said(folder: Path, make: Callable[[Path], object], said: str):
    make(folder / "somewhere")
    for command in ("train", "verify"):
        assert said in lewm_here(folder / "home", command, "somewhere").sentence()


@pytest.mark.parametrize("place", ["demos.lance/_versions", "demos/meta/info.json", "demos.zarr/.zgroup"])
def test_folders_of_other_tools_in_the_home_are_said(folder: Path, place: str):
    (folder / "home" / place).mkdir(parents=True)
    assert "a recording is one HDF5 file" in lewm_here(folder / "home", "train", "demos").sentence()
