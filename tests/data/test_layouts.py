"""Recordings of other tools are recognized, and the programs of docs/datasets.md convert them."""

import json
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import h5py
import imageio.v3 as imageio
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from commands import lewm_here
from lewm_cli.data import open_dataset
from synthetic import write_recording

GUIDE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")

LENGTHS = (5, 4, 6)
OFFSETS = np.cumsum(LENGTHS) - LENGTHS
FRAMES = np.zeros((sum(LENGTHS), 16, 16, 3), np.uint8)
FRAMES[:] = np.linspace(0, 250, len(FRAMES)).astype(np.uint8)[:, None, None, None]
ACTIONS = np.random.default_rng(1).normal(size=(sum(LENGTHS), 3)).astype(np.float32)
OBLONG = np.concatenate([FRAMES[:, :, :4] * 0, FRAMES, FRAMES[:, :, :4] * 0], 2)
"""The same with bars at both sides."""

STAND_INS = ("zarr", "tensorflow_datasets")
"""Packages that are too large to be installed for this."""

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
    (Path("lerobot") / "meta").mkdir(parents=True)
    features = {"observation.images.top": {"dtype": "video"}, "action": {"dtype": "float32"}}
    Path("lerobot/meta/info.json").write_text(json.dumps({"codebase_version": version, "features": features}))
    numbers = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    table = {"episode_index": numbers, "action": list(ACTIONS), "timestamp": np.zeros(len(numbers))}
    if version == "v3.0":
        parts = {"data/chunk-000/file-000": slice(0, 7), "data/chunk-000/file-001": slice(7, None)}
        videos = {"videos/observation.images.top/chunk-000/file-000": slice(None)}
    else:
        parts = {f"data/chunk-000/episode_{number:06d}": rows for number, rows in enumerate(EPISODES)}
        folder = "videos/chunk-000/observation.images.top"
        videos = {f"{folder}/episode_{number:06d}": rows for number, rows in enumerate(EPISODES)}
    for place, rows in parts.items():
        path = Path("lerobot", f"{place}.parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.table({name: values[rows] for name, values in table.items()}), path)
    for place, rows in videos.items():
        path = Path("lerobot", f"{place}.mp4")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, OBLONG[rows])
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
    arrays = {
        "data": {"img": FRAMES.astype(np.float32), "action": ACTIONS},
        "meta": {"episode_ends": np.cumsum(LENGTHS)},
    }
    stand_in("zarr", open=lambda path, mode: arrays)
    return "replay_buffer.zarr"


def rlds() -> str:
    Path("bridge/1.0.0").mkdir(parents=True)
    Path("bridge/1.0.0/features.json").write_text("{}")
    steps = [
        [{"observation": {"image": FRAMES[row]}, "action": ACTIONS[row]} for row in range(rows.start, rows.stop)]
        for rows in EPISODES
    ]
    episodes = [{"steps": types.SimpleNamespace(as_numpy_iterator=lambda one=one: iter(one))} for one in steps]
    builder = types.SimpleNamespace(as_dataset=lambda split: episodes)
    stand_in("tensorflow_datasets", builder_from_directory=lambda folder: builder)
    return "bridge/1.0.0"


def stand_in(name: str, **members: object) -> None:
    assert name in STAND_INS
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(members)


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


LAYOUTS = {
    "robomimic": (robomimic, "robomimic", "data/demo_0/obs/agentview_image"),
    "ALOHA": (aloha, "ALOHA", "observations/images/top"),
    "ALOHA with JPEG images": (aloha_compressed, "ALOHA", "episode_0.hdf5"),
    "Minari": (minari, "Minari", "episode_0/observations/pixels"),
    "LeRobot 2.1": (lambda: lerobot("v2.1"), "LeRobot", "observation.images.top"),
    "LeRobot 3.0": (lambda: lerobot("v3.0"), "LeRobot", "observation.images.top"),
    "OGBench": (ogbench, "NumPy files", "visual.npz"),
    "Lance": (lance, "Lance", "_versions"),
    "Zarr": (zarr, "Diffusion Policy and Zarr", "data"),
    "RLDS": (rlds, "RLDS and TFDS", "features.json"),
    "videos": (videos, "Videos", "take-0.mp4"),
    "images": (images, "Images", "000.png"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder with the file of the guide that its programs import."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "write_recording.py").write_text(section("Recordings of other tools")[0], encoding="utf-8")
    yield tmp_path
    for name in ("write_recording", *STAND_INS):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "layout", [pytest.param(name, marks=pytest.mark.slow if name == "Lance" else ()) for name in LAYOUTS]
)
def test_layout_is_named_and_the_program_of_the_guide_converts_it(folder: Path, layout: str):
    make, heading, held = LAYOUTS[layout]
    said = lewm_here(folder / "home", "train", make()).sentence()
    assert held in said
    assert f"docs/datasets.md#{heading.lower().replace(' ', '-')}" in said
    (program,) = section(heading)
    exec(program, {"__name__": "__main__"})
    shown = lewm_here(folder / "home", "show", "recording.h5", "--json")
    assert shown.code == 0, shown.err
    assert shown.json()["notes"] == []
    dataset = open_dataset(folder / "recording.h5", "recording")
    assert dataset.lengths.tolist() == list(LENGTHS)
    frames = dataset.read("pixels", slice(None)).astype(int)
    middle = slice(2, -2) if layout in ("LeRobot 2.1", "LeRobot 3.0", "videos") else slice(None)  # videos blur edges
    assert np.abs(frames[:, middle, middle] - FRAMES[:, middle, middle]).max() < 8
    taken = ~np.isnan(dataset.actions)
    assert taken.sum() >= ACTIONS.size - 3 * len(LENGTHS)
    assert np.allclose(dataset.actions[taken], ACTIONS[taken], atol=1e-6)


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
    assert "has the layout of D4RL, and docs/datasets.md#d4rl" in lewm_here(folder, "show", path).sentence()


@pytest.mark.parametrize(
    ("heading", "frames", "meant"),
    [
        ("Frames that are not square", OBLONG, FRAMES),
        ("Frames of other numbers", FRAMES.astype(np.uint16) * 257, FRAMES),
        ("Frames of other shapes", np.array([cv2.imencode(".png", f)[1].tobytes() for f in OBLONG]), None),
    ],
)
def test_programs_of_the_guide_convert_frames(folder: Path, heading: str, frames: np.ndarray, meant: np.ndarray | None):
    write_recording(folder / "recording.h5", LENGTHS, columns={"pixels": frames, "state": ACTIONS})
    said = lewm_here(folder, "show", "recording.h5").sentence()
    whole = section("Frames that are not square")[0]
    if meant is not None:
        assert heading.lower().replace(" ", "-") in said
    function = section(heading)[0] if heading != "Frames that are not square" else ""
    before, _, after = whole.partition("with h5py.File")
    exec(f"{before}{function}\nwith h5py.File{after}", {})
    dataset = open_dataset(folder / "converted.h5", "converted")
    assert {column.name for column in dataset.columns} == {"pixels", "action", "state"}
    if meant is None:
        assert dataset.read("pixels", slice(None)).shape == (len(FRAMES), 224, 224, 3)
    else:
        assert np.array_equal(dataset.read("pixels", slice(None)), meant)


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
        (lambda folder: write_recording(folder / "pick.h5"), "is a folder of HDF5 files (pick.h5)"),
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
