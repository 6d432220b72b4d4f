"""HDF5 with one group per episode is read as its tools wrote it, and refused in a sentence where it is damaged."""

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from columns import FIXTURES, assert_moved_by_actions, frames_of, opened, places
from damage import damaged_copy, read_or_refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commands import lewm_here
from lewm_cli.data import open_dataset
from lewm_cli.errors import LewmError, UsageError

ROBOMIMIC = FIXTURES / "robomimic.hdf5"
AGENT = {"camera": "agentview_image"}


def test_robomimic_is_read_in_the_order_of_numbers():
    source = opened(ROBOMIMIC, **AGENT)
    assert source.kind == "robomimic"
    assert source.cameras == ("agentview_image", "robot0_eye_in_hand_image")
    assert [one.name for one in source.episodes] == ["data/demo_0", "data/demo_1", "data/demo_2", "data/demo_10"]
    assert source.fps == 20
    assert source.files == (ROBOMIMIC,)
    assert_moved_by_actions(source)
    episode = source.read(3)
    assert (episode.actions[:, 2] == 10).all()
    assert episode.columns.keys() == {"reward", "done", "proprio"}
    assert episode.columns["reward"].tolist() == [0, 0, 0, 0, 0, 1]
    assert episode.columns["proprio"].shape == (6, 9)
    assert np.abs(episode.columns["proprio"][:, :2] - places(frames_of(episode))).max() < 1
    (proprio, _) = source.notes
    assert "obs/robot0_eef_pos (3), obs/robot0_eef_quat (4), obs/robot0_gripper_qpos (2)" in proprio


def test_other_camera_other_columns_and_one_mask_are_taken_when_asked_for():
    mapped = {"proprio": "obs/object,obs/robot0_gripper_qpos", "state": "states"}
    source = opened(ROBOMIMIC, camera="robot0_eye_in_hand_image", map=mapped, episodes="mask/valid")
    assert [one.name for one in source.episodes] == ["data/demo_1"]
    episode = source.read(0)
    assert np.abs(places(255 - frames_of(episode)) - episode.columns["proprio"][:, :2]).max() < 1
    assert episode.columns["proprio"].shape == (4, 4)
    assert episode.columns["state"].shape == (4, 10)
    assert opened(ROBOMIMIC, **AGENT, episodes="train").episodes[-1].name == "data/demo_10"


@pytest.mark.parametrize("name", ["minari-jpeg", "minari-jpeg/data", "minari-jpeg/data/main_data.hdf5"])
def test_minari_is_read_with_the_observation_after_the_last_action(name: str):
    source = opened(FIXTURES / name)
    assert (source.kind, source.camera) == ("Minari", "pixels")
    assert [(one.name, one.frames) for one in source.episodes] == [("episode_0", 5), ("episode_1", 4)]
    assert_moved_by_actions(source)
    episode = source.read(0)
    assert np.isnan(episode.actions[-1]).all()
    assert np.abs(episode.columns["proprio"] - places(frames_of(episode))).max() < 1
    assert np.array_equal(episode.columns["reward"], [1, 2, 3, 4, np.nan], equal_nan=True)
    assert np.array_equal(episode.columns["truncated"], [0, 0, 0, 1, np.nan], equal_nan=True)


def test_minari_with_images_alone_that_are_no_jpeg_is_read():
    source = opened(FIXTURES / "minari-raw")
    assert source.camera == "observations"
    assert_moved_by_actions(source)
    assert "proprio" not in source.read(0).columns


@pytest.mark.parametrize("name", ["aloha", "aloha-jpeg"])
def test_aloha_folder_is_read_in_the_order_of_numbers(name: str):
    source = opened(FIXTURES / name)
    assert (source.kind, source.camera, len(source.files)) == ("ALOHA", "top", 3)
    assert [one.name for one in source.episodes] == ["episode_0.hdf5", "episode_1.hdf5", "episode_10.hdf5"]
    assert_moved_by_actions(source, absolute=True)
    episode = source.read(2)
    assert episode.columns.keys() == {"proprio", "qvel", "effort"}
    assert np.allclose(episode.columns["proprio"][1:], episode.actions[:-1], atol=1e-5)
    assert any("--colors bgr" in note for note in source.notes) is (name == "aloha-jpeg")
    assert opened(FIXTURES / name / "episode_10.hdf5").episodes == source.episodes[2:]


def test_folder_of_robomimic_files_is_one_source(tmp_path: Path):
    for task in ("open", "close"):
        shutil.copy(ROBOMIMIC, tmp_path / f"{task}.hdf5")
    source = opened(tmp_path, **AGENT)
    assert len(source.episodes) == 8
    assert source.episodes[0].name == "close.hdf5/data/demo_0"


def test_groups_of_other_names_are_read(tmp_path: Path):
    path = tmp_path / "mine.h5"
    with h5py.File(path, "w") as file:
        for number, length in enumerate((4, 3)):
            for camera in ("base", "hand"):
                file[f"traj_{number}/obs/sensor_data/{camera}/rgb"] = np.full((length + 1, 8, 9, 3), number, np.uint8)
            file[f"traj_{number}/obs/depth"] = np.full((length + 1, 8, 9, 1), 7, np.uint16)
            file[f"traj_{number}/arm"] = np.full((length, 3), number)
            file[f"traj_{number}/gripper"] = np.full(length, 0.5)
    with pytest.raises(UsageError, match="--camera obs/sensor_data/base/rgb --name robot/rgb"):
        opened(path, map={"action": "arm"})
    with pytest.raises(UsageError, match="2 cameras, obs/sensor_data/base/rgb \\(9 x 8\\), obs/sensor_data/hand/rgb"):
        opened(path, map={"action": "arm"})
    assert opened(path, map={"action": "arm"}, camera="obs/depth", action=("2",)).action_names == ("2",)
    source = opened(path, map={"action": "arm,gripper"}, camera="obs/sensor_data/hand/rgb", action=("gripper", "arm.2"))
    assert source.kind == "HDF5 with one group per episode"
    assert [one.frames for one in source.episodes] == [5, 4]
    assert source.action_names == ("gripper", "arm.2")
    assert source.actions(1)[:-1].tolist() == [[0.5, 1]] * 3
    depth = opened(path, map={"action": "arm", "pixels": "obs/depth"}).read(0)
    assert frames_of(depth).dtype == np.uint16


def test_several_arrays_of_actions_are_put_side_by_side_and_named(tmp_path: Path):
    path = tmp_path / "main_data.hdf5"
    with h5py.File(path, "w") as file:
        for number in range(2):
            file[f"episode_{number}/observations"] = np.zeros((4, 8, 8, 3), np.uint8)
            file[f"episode_{number}/actions/arm"] = np.ones((3, 2))
            file[f"episode_{number}/actions/gripper"] = np.full(3, number)  # discrete
    source = opened(path)
    assert source.action_names == ("arm.0", "arm.1", "gripper")
    assert source.actions(1)[0].tolist() == [1, 1, 1]


def test_preset_decides_where_content_leaves_it_open(tmp_path: Path):
    path = tmp_path / "both.hdf5"
    with h5py.File(path, "w") as file:
        file["data/demo_0/obs/front"] = np.zeros((4, 8, 8, 3), np.uint8)
        file["data/demo_0/actions"] = np.zeros((4, 2))
        file["observations/images/top"] = np.zeros((9, 8, 8, 3), np.uint8)
        file["action"] = np.zeros((9, 2))
    assert opened(path).kind == "robomimic"
    assert opened(path, preset="aloha").episodes[0].frames == 9
    with pytest.raises(UsageError, match="there is robomimic, minari, aloha"):
        opened(path, preset="bridge")
    with pytest.raises(LewmError, match="holds no episode"):
        opened(path, preset="minari")
    with pytest.raises(LewmError, match="has no group 'data'; leave out --preset"):
        opened(FIXTURES / "aloha", preset="robomimic")


def test_imported_recording_says_where_every_row_came_from(tmp_path: Path):
    done = lewm_here(
        tmp_path, "import", ROBOMIMIC, "--camera", "agentview_image", "--name", "robot/lift", "--workers", 1
    )
    assert done.code == 0, done.err
    dataset = open_dataset(tmp_path / "robot" / "lift.h5", "lift")
    assert dataset.lengths.tolist() == [5, 4, 3, 6]
    assert dataset.fps == 20
    assert dataset.imported.kind == "robomimic"
    assert dataset.read("proprio", slice(None)).shape == (18, 9)
    with h5py.File(dataset.path) as file:
        assert file["source_episodes"].asstr()[-1] == "data/demo_10"


def without_actions(file: h5py.File) -> None:
    del file["data/demo_1/actions"]


def wider_actions(file: h5py.File) -> None:
    del file["data/demo_1/actions"]
    file["data/demo_1/actions"] = np.zeros((4, 7))


def text_actions(file: h5py.File) -> None:
    del file["data/demo_1/actions"]
    file["data/demo_1/actions"] = np.array([b"left"] * 4)


def other_rows(count: int) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file["data/demo_1/actions"]
        file["data/demo_1/actions"] = np.zeros((count, 3))

    return change


def smaller_frames(file: h5py.File) -> None:
    del file["data/demo_1/obs/agentview_image"]
    file["data/demo_1/obs/agentview_image"] = np.zeros((4, 16, 16, 3), np.uint8)


def without_camera(file: h5py.File) -> None:
    del file["data/demo_1/obs/agentview_image"]


def unwritten_frames(file: h5py.File) -> None:
    del file["data/demo_1/obs/agentview_image"]
    file.create_dataset("data/demo_1/obs/agentview_image", (4, 40, 48, 3), "u1")


FAULTS = {
    "no frames but room for them": (
        unwritten_frames,
        "rows 0 to 3 of data/demo_1/obs/.* never written",
    ),
    "no actions": (without_actions, "data/demo_1 of .* has no actions$"),
    "wider actions": (wider_actions, "data/demo_1 of .* has actions of 7 dimensions, and data/demo_0 of 3$"),
    "actions that are words": (text_actions, "actions are numbers"),
    "an action too many": (other_rows(5), "has 4 frames and 5 rows of actions; every frame needs one"),
    "two actions too few": (other_rows(2), "has 4 frames and 2 rows of actions"),
    "frames of another size": (smaller_frames, r"has frames of shape \(16, 16, 3\), and data/demo_0 of \(40, 48, 3\)"),
    "no camera": (without_camera, "has no obs/agentview_image, and others have"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_one_bad_episode_is_said_when_it_is_read_and_the_others_are_whole(tmp_path: Path, kind: str):
    change, said = FAULTS[kind]
    path = tmp_path / "demos.hdf5"
    shutil.copy(ROBOMIMIC, path)
    with h5py.File(path, "a") as file:
        change(file)
    source = opened(path, **AGENT)
    for read in (source.actions, source.read):
        with pytest.raises(LewmError, match=said):
            read(1)
    assert len(source.episodes) == 4
    assert source.actions(3).shape == (6, 3)
    command = ("import", path, "--camera", "agentview_image", "--workers", 1)
    assert "--skip-damaged" in lewm_here(tmp_path / "home", *command).sentence()
    assert lewm_here(tmp_path / "home", *command, "--skip-damaged").code == 0
    assert open_dataset(tmp_path / "home" / "demos.h5", "x").lengths.tolist() == [5, 3, 6]


def test_an_action_fewer_than_frames_is_the_last_that_was_not_taken(tmp_path: Path):
    path = tmp_path / "demos.hdf5"
    shutil.copy(ROBOMIMIC, path)
    with h5py.File(path, "a") as file:
        other_rows(3)(file)
        file["data/demo_2/actions"][1] = np.nan
    source = opened(path, **AGENT)
    assert np.isnan(source.actions(1)).all(axis=1).tolist() == [False, False, False, True]
    assert np.isnan(source.actions(2)).all(axis=1).tolist() == [False, True, False]


def test_episodes_of_one_frame_are_read_and_empty_ones_left_out(tmp_path: Path):
    path = tmp_path / "demos.hdf5"
    with h5py.File(path, "w") as file:
        for number, length in enumerate((0, 1, 3)):
            file[f"data/demo_{number}/obs/front"] = np.zeros((length, 8, 8, 3), np.uint8)
            file[f"data/demo_{number}/actions"] = np.zeros((length, 2))
    source = opened(path)
    assert [one.frames for one in source.episodes] == [1, 3]
    assert "1 episode without frames left out: data/demo_0" in source.notes
    assert len(frames_of(source.read(0))) == 1


def test_column_that_not_all_episodes_have_is_left_out_and_said(tmp_path: Path):
    path = tmp_path / "demos.hdf5"
    shutil.copy(ROBOMIMIC, path)
    with h5py.File(path, "a") as file:
        del file["data/demo_2/rewards"], file["data/demo_1/obs/robot0_eef_pos"]
    source = opened(path, **AGENT)
    assert source.read(2).columns.keys() == {"done"}
    assert "reward is left out, for data/demo_2 has none that fits" in source.notes
    assert "proprio is left out, for data/demo_1 has none that fits" in source.notes


def test_next_observations_are_no_camera(tmp_path: Path):
    path = tmp_path / "demos.hdf5"
    with h5py.File(path, "w") as file:
        for name in ("obs", "next_obs"):
            file[f"data/demo_0/{name}/front"] = np.zeros((3, 8, 8, 3), np.uint8)
        file["data/demo_0/actions"] = np.zeros((3, 2))
    assert opened(path).cameras == ("front",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda file: file.move("data/demo_1", "data/demo_00"),
            "data/demo_0 and data/demo_00 .* both say .* episode 0",
        ),
        (lambda file: file["data/demo_1"].attrs.update(id=2), "data/demo_1 and data/demo_2 .* are episode 2"),
    ],
)
def test_two_episodes_of_one_number_are_refused(tmp_path: Path, change: Callable[[h5py.File], None], said: str):
    path = tmp_path / "demos.hdf5"
    shutil.copy(ROBOMIMIC, path)
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(LewmError, match=said):
        opened(path, **AGENT)


def test_two_files_of_one_number_are_refused(tmp_path: Path):
    shutil.copytree(FIXTURES / "aloha", tmp_path / "aloha")
    shutil.copy(FIXTURES / "aloha" / "episode_0.hdf5", tmp_path / "aloha" / "episode_000.hdf5")
    with pytest.raises(LewmError, match=r"episode_000.hdf5 .* both say that they are episode 0"):
        opened(tmp_path / "aloha")


def test_cut_file_of_a_folder_is_said_when_it_is_read(tmp_path: Path):
    shutil.copytree(FIXTURES / "aloha", tmp_path / "aloha")
    cut = tmp_path / "aloha" / "episode_0.hdf5"
    cut.write_bytes(cut.read_bytes()[:-100])
    source = opened(tmp_path / "aloha")
    assert [one.frames for one in source.episodes] == [None, 3, 5]
    with pytest.raises(LewmError, match="cut short"):
        source.actions(0)
    with pytest.raises(LewmError, match="cut short"):
        opened(cut)


def test_images_of_two_sizes_and_no_images_are_said(tmp_path: Path):
    path = tmp_path / "aloha" / "episode_0.hdf5"
    shutil.copytree(FIXTURES / "aloha-jpeg", tmp_path / "aloha")
    import cv2

    other = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1]
    with h5py.File(path, "a") as file:
        file["observations/images/top"][2, : len(other)] = other
    with pytest.raises(
        LewmError, match=r"row 2 of observations/images/top .* is an image of 8 x 8 pixels, .* of 48 x 40"
    ):
        frames_of(opened(path).read(0))
    with h5py.File(path, "a") as file:
        file["observations/images/top"][1] = 0
    with pytest.raises(LewmError, match=r"row 1 of .* is damaged, or an image"):
        frames_of(opened(path).read(0))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([b"demo_7", b"demo_8"], "mask/train of .* names demo_7, demo_8, and there is no such episode"),
        ([], "names no episode"),
    ],
)
def test_mask_that_names_no_demonstration_is_refused(tmp_path: Path, names: list[bytes], said: str):
    path = tmp_path / "demos.hdf5"
    shutil.copy(ROBOMIMIC, path)
    with h5py.File(path, "a") as file:
        del file["mask/train"]
        file["mask/train"] = np.array(names, "S7")
    with pytest.raises(LewmError, match=said):
        opened(path, **AGENT, episodes="mask/train")
    assert len(opened(path, **AGENT).episodes) == 4


WRONG = {
    "no camera chosen": (
        {},
        UsageError,
        r"agentview_image \(48 x 40\), robot0_eye_in_hand_image \(48 x 40\).*--camera",
    ),
    "no such camera": ({"camera": "front"}, UsageError, "no camera 'front', but agentview_image"),
    "no such column": (AGENT | {"map": {"proprio": "obs/joints"}}, UsageError, "no 'obs/joints'; it holds .*--dry-run"),
    "no such mask": (
        AGENT | {"episodes": "mask/test"},
        UsageError,
        "no such mask; of its masks there are train, valid",
    ),
    "a name of ours": (AGENT | {"map": {"ep_len": "states"}}, UsageError, "a name that a recording .* writes itself"),
    "a name with a slash": (AGENT | {"map": {"a/b": "states"}}, UsageError, "a name that a recording cannot have"),
    "no such dimension": (AGENT | {"action": ("x",)}, UsageError, "no action dimension 'x'; there is 0, 1, 2"),
    "images as actions": (AGENT | {"map": {"action": "obs/agentview_image"}}, LewmError, "actions are numbers"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_meant_is_said_with_what_there_is(kind: str):
    asked, error, said = WRONG[kind]
    with pytest.raises(error, match=said):
        opened(ROBOMIMIC, **asked)


def test_minari_data_stored_as_arrow_is_said(tmp_path: Path):
    (tmp_path / "data" / "0").mkdir(parents=True)
    (tmp_path / "data" / "metadata.json").write_text('{"data_format": "arrow"}')
    (tmp_path / "data" / "0" / "metadata.json").write_text("{}")
    with pytest.raises(LewmError, match=r'stored as arrow, .* data_format="hdf5"'):
        opened(tmp_path)


SMALL = (ROBOMIMIC, FIXTURES / "aloha-jpeg" / "episode_0.hdf5", FIXTURES / "minari-jpeg" / "data" / "main_data.hdf5")


@given(st.sampled_from(SMALL), st.data())
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_cut_and_flipped_bytes_are_read_or_refused_in_a_sentence(tmp_path: Path, path: Path, data: st.DataObject):
    read_or_refused(damaged_copy(path, tmp_path, data), **AGENT if path == ROBOMIMIC else {})


@pytest.mark.soak
@given(st.sampled_from(SMALL), st.data())
@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_many_cut_and_flipped_bytes_are_read_or_refused(tmp_path: Path, path: Path, data: st.DataObject):
    read_or_refused(damaged_copy(path, tmp_path, data), **AGENT if path == ROBOMIMIC else {})
