"""Recordings that other tools wrote become recordings that verify, show and train take, by one command."""

from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from commands import flat, lewm_here
from lewm_cli.data import open_dataset

FIXTURES = Path(__file__).parents[1] / "fixtures"
HDF5 = FIXTURES / "hdf5_sources"

SOURCES = {
    "LeRobot v3.0": (FIXTURES / "lerobot_v30", ["--camera", "top"]),
    "LeRobot v2.1": (FIXTURES / "lerobot_v21", ["--camera", "wrist", "--action", "gripper.pos"]),
    "robomimic": (HDF5 / "robomimic.hdf5", ["--camera", "agentview_image", "--fit", "pad"]),
    "ALOHA": (HDF5 / "aloha-jpeg", []),
    "Minari": (HDF5 / "minari-jpeg", []),
    "OGBench": (HDF5 / "visual-square-v0.npz", ["--box", "0,0,40,40"]),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_recording_of_a_tool_becomes_one_of_ours(tmp_path: Path, kind: str):
    source, arguments = SOURCES[kind]
    looked = lewm_here(tmp_path, "import", source, *arguments, "--dry-run", "--json").json()
    assert kind in looked["kind"]
    done = lewm_here(tmp_path, "import", source, *arguments, "--name", "robot/pick", "--workers", 1, "--json")
    assert done.code == 0, done.err
    made = done.json()
    assert (made["episodes"], made["rows"]) == (looked["episodes"], looked["frames"])
    assert made["imported"]["framing"] == looked["framing"]
    dataset = open_dataset(Path(made["path"]), "robot/pick")
    assert looked["bytes"] == pytest.approx(dataset.path.stat().st_size, rel=0.3)
    assert dataset.notes == ()
    known = dataset.actions[~np.isnan(dataset.actions).any(axis=1)]
    least = [action["least"] for action in looked["actions"]]
    assert np.all(known.min(axis=0) >= np.float32(least))
    assert np.isnan(dataset.actions).all(axis=1).sum() <= made["episodes"]
    [checked] = lewm_here(tmp_path, "verify", "robot/pick", "--json").json()["checked"]
    assert (checked["state"], checked["decoded"]) == ("ok", made["rows"])
    assert done.err.splitlines()[-1] == "next: lewm train robot/pick"
    assert f"({kind}" in flat(lewm_here(tmp_path, "show", "robot/pick").out)


def test_videos_and_their_tables_become_a_recording(tmp_path: Path):
    folder = tmp_path / "takes"
    folder.mkdir()
    frames = np.zeros((12, 48, 64, 3), np.uint8)
    frames[:] = np.linspace(30, 220, 12).astype(np.uint8)[:, None, None, None]
    for number in range(2):
        imageio.imwrite(folder / f"{number}.mp4", frames, plugin="FFMPEG", fps=10, codec="libx264")
        (folder / f"{number}.csv").write_text("x,y\n" + "".join(f"{row},{-row}\n" for row in range(12)))
    done = lewm_here(tmp_path, "import", folder, "--name", "robot/pick", "--workers", 1, "--json")
    assert done.code == 0, done.err
    dataset = open_dataset(Path(done.json()["path"]), "robot/pick")
    assert (dataset.lengths.tolist(), dataset.fps, dataset.imported.action_names) == ([12, 12], 10.0, ("x", "y"))
    seen = dataset.read("pixels", slice(0, 12)).mean(axis=(1, 2, 3))
    assert np.abs(seen - frames.mean(axis=(1, 2, 3))).max() < 4


def test_action_dimensions_may_be_named_together(tmp_path: Path):
    names = ("--camera", "top", "--action", "gripper.pos,shoulder.pos", "--action", "elbow.pos")
    planned = lewm_here(tmp_path, "import", FIXTURES / "lerobot_v30_images", *names, "--dry-run", "--json").json()
    assert [action["name"] for action in planned["actions"]] == ["gripper.pos", "shoulder.pos", "elbow.pos"]
