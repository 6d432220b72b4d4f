"""LeRobot data sets that lerobot wrote, read as lerobot reads them; and damaged ones, each refused in a sentence."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.exchange.recognized import open_source
from lewm_cli.exchange.source import Asked, Source

FIXTURES = Path(__file__).parents[1] / "fixtures"
VERSIONS = ("lerobot_v30", "lerobot_v30_images", "lerobot_v21")
LENGTHS = (9, 5, 7)
TOP, WRIST = "observation.images.top", "observation.images.wrist"
MOTORS = ("shoulder.pos", "elbow.pos", "gripper.pos")
TABLE = {"lerobot_v21": "data/chunk-000/episode_000001.parquet"}
VIDEO = {"lerobot_v21": f"videos/chunk-000/{TOP}/episode_000001.mp4"}

Copied = Callable[[str], Path]


@pytest.fixture
def copied(tmp_path: Path) -> Copied:
    """Copies a fixture into a folder `pick`, to be damaged."""
    return lambda name: Path(shutil.copytree(FIXTURES / name, tmp_path / "pick"))


def opened(folder: Path, camera: str | None = "top", **asked: Any) -> Source:
    return open_source(folder, folder.name, Asked(camera=camera, **asked))


def table_of(folder: Path) -> Path:
    """The table with episode 1."""
    return folder / TABLE.get(_kind(folder), "data/chunk-000/file-000.parquet")


def video_of(folder: Path) -> Path:
    """The video with episode 1."""
    return folder / VIDEO.get(_kind(folder), f"videos/{TOP}/chunk-000/file-000.mp4")


def _kind(folder: Path) -> str:
    return "lerobot_v21" if (folder / "meta/tasks.jsonl").exists() else "lerobot_v30"


def change_info(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    tree = json.loads((folder / "meta/info.json").read_text())
    change(tree)
    (folder / "meta/info.json").write_text(json.dumps(tree))


def change_table(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    parquet.write_table(change(parquet.read_table(path)), path)


def with_length(folder: Path, length: int) -> None:
    """Say of episode 1 of a v2.1 folder that it has so many rows."""
    lines = [json.loads(line) for line in (folder / "meta/episodes.jsonl").read_text().splitlines()]
    lines[1]["length"] = length
    (folder / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))


def read_all(folder: Path, camera: str | None, **asked: Any) -> None:
    source = opened(folder, camera, **asked)
    for number in range(len(source.episodes)):
        source.actions(number)
        list(source.read(number).frames)


def refused(folder: Path, kind: type[LewmError] = LewmError, camera: str | None = "top", **asked: Any) -> str:
    """The sentence about a folder that cannot be read to its end."""
    with pytest.raises(kind) as raised:
        read_all(folder, camera, **asked)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# As lerobot reads them


@pytest.mark.parametrize("camera", ["top", "wrist"])
@pytest.mark.parametrize("name", VERSIONS)
def test_everything_is_read_as_lerobot_reads_it(name: str, camera: str):
    theirs = json.loads((FIXTURES / f"{name}.json").read_text())
    source = pickle.loads(pickle.dumps(opened(FIXTURES / name, camera)))  # workers read a copy
    assert source.kind == ("LeRobot v2.1" if name == "lerobot_v21" else "LeRobot v3.0")
    assert (source.camera, source.cameras) == (f"observation.images.{camera}", (TOP, WRIST))
    assert [episode.frames for episode in source.episodes] == list(LENGTHS)
    assert source.episodes[2].name == "episode_000002"
    assert (source.action_names, source.fps) == (MOTORS, 10)
    read = [source.read(number) for number in range(3)]
    frames = [frame for episode in read for frame in episode.frames]
    assert {frame.shape for frame in frames} == {(48, 64, 3) if camera == "top" else (24, 32, 3)}
    assert {frame.dtype for frame in frames} == {np.dtype(np.uint8)}
    colors = [frame.mean((0, 1)) for frame in frames]
    np.testing.assert_allclose(colors, theirs[camera], atol=2)  # its decoders round down
    joined = {name: np.concatenate([episode.columns[name] for episode in read]) for name in read[0].columns}
    assert set(joined) == {"proprio", "reward", "task_index"}
    np.testing.assert_array_equal(np.concatenate([episode.actions for episode in read]), np.float32(theirs["action"]))
    np.testing.assert_array_equal(joined["proprio"], np.float32(theirs["state"]))
    np.testing.assert_array_equal(joined["reward"], np.float32(theirs["reward"]))
    assert [source.tasks[index] for index in joined["task_index"]] == theirs["task"]
    times = np.concatenate([episode.frame_times for episode in read])
    np.testing.assert_array_equal(times, theirs["timestamp"])
    assert all(np.array_equal(episode.frame_times, episode.action_times) for episode in read)
    for number in range(3):
        np.testing.assert_array_equal(source.actions(number), read[number].actions)


def test_frames_come_by_their_times(copied: Copied):
    folder = copied("lerobot_v21")
    whole = list(opened(folder).read(1).frames)
    change_table(table_of(folder), lambda table: table.take([1, 2, 2, 4]))
    with_length(folder, 4)
    taken = list(opened(folder).read(1).frames)
    np.testing.assert_array_equal(taken, [whole[row] for row in (1, 2, 2, 4)])


def test_episode_of_one_frame(copied: Copied):
    folder = copied("lerobot_v21")
    whole = list(opened(folder).read(1).frames)
    change_table(table_of(folder), lambda table: table.slice(0, 1))
    with_length(folder, 1)
    episode = opened(folder).read(1)
    assert episode.actions.shape == (1, 3)
    np.testing.assert_array_equal(list(episode.frames), whole[:1])


def test_episode_without_a_frame(copied: Copied):
    folder = copied("lerobot_v21")
    change_table(table_of(folder), lambda table: table.slice(0, 0))
    with_length(folder, 0)
    source = opened(folder)
    assert source.actions(1).shape == (0, 3)
    assert list(source.read(1).frames) == []


def test_only_the_needed_rows_and_columns_are_read(copied: Copied):
    folder = copied("lerobot_v30_images")
    path, metadata = table_of(folder), parquet.read_metadata(table_of(folder))
    damaged = bytearray(path.read_bytes())
    for group, column in ((0, "action.list.element"), (1, f"{WRIST}.bytes")):
        chunks = [metadata.row_group(group).column(index) for index in range(metadata.num_columns)]
        (chunk,) = [chunk for chunk in chunks if chunk.path_in_schema == column]
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        damaged[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(damaged)
    source = opened(folder)
    for number in (1, 2):
        assert len(list(source.read(number).frames)) == LENGTHS[number]
    with pytest.raises(LewmError, match=r"file-000\.parquet is cut short or damaged"):
        source.actions(0)


def test_nothing_known_is_nan(copied: Copied):
    folder = copied("lerobot_v21")
    rows = [[0.0, None, 2.0], *[[1.0, 2.0, 3.0]] * 4]
    kind = pa.list_(pa.float32(), 3)
    change_table(table_of(folder), lambda table: table.set_column(0, "action", pa.array(rows, kind)))
    np.testing.assert_array_equal(opened(folder).actions(1)[0], [0, np.nan, 2])


# What is asked of them


@pytest.mark.parametrize("camera", ["top", TOP])
def test_camera_is_chosen_by_its_whole_name_or_the_last_part(camera: str):
    assert opened(FIXTURES / "lerobot_v30", camera).camera == TOP


def test_camera_that_is_not_chosen_is_asked_for(copied: Copied):
    folder = copied("lerobot_v30")
    assert refused(folder, UsageError, None) == (
        f"pick has 2 cameras, {TOP} (64 x 48), {WRIST} (32 x 24); import one after the other, like: "
        "lewm import pick --camera top --name robot/top"
    )
    assert "no camera 'tpo'" in (said := refused(folder, UsageError, "tpo"))
    assert "did you mean 'top'?" in said

    def second_top(info: dict[str, Any]) -> None:
        info["features"]["observation.depth.top"] = info["features"][TOP]

    change_info(folder, second_top)
    assert "--camera top may be any of observation.images.top, observation.depth.top" in refused(folder, UsageError)
    assert opened(folder, TOP).camera == TOP


def test_the_only_camera_needs_no_choice(copied: Copied):
    folder = copied("lerobot_v30")
    change_info(folder, lambda info: info["features"].pop(WRIST))
    assert opened(folder, None).camera == TOP
    change_info(folder, lambda info: info["features"].pop(TOP))
    assert "pick has no camera, and a world model learns from frames" in refused(folder, camera=None)


def test_action_dimensions_are_chosen_by_name(copied: Copied):
    folder = copied("lerobot_v30")
    every = opened(folder).actions(1)
    source = opened(folder, action=("gripper.pos", "shoulder.pos"))
    assert source.action_names == ("gripper.pos", "shoulder.pos")
    np.testing.assert_array_equal(source.actions(1), every[:, [2, 0]])
    np.testing.assert_array_equal(source.read(1).actions, every[:, [2, 0]])
    assert "did you mean 'elbow.pos'?" in refused(folder, UsageError, action=("elbow",))
    assert "names a dimension twice" in refused(folder, UsageError, action=("elbow.pos", "elbow.pos"))
    change_info(folder, lambda info: info["features"]["action"].update(names=None))
    assert opened(folder).action_names == ()
    assert "does not name its action dimensions" in refused(folder, UsageError, action=("elbow.pos",))


@pytest.mark.parametrize(
    "names",
    [
        list(MOTORS),
        {"motors": list(MOTORS)},
        {"arm": list(MOTORS[:2]), "hand": list(MOTORS[2:])},
        {"gripper.pos": 2, "elbow.pos": 1, "shoulder.pos": 0},
    ],
)
def test_names_come_in_several_forms(copied: Copied, names: object):
    folder = copied("lerobot_v30")
    change_info(folder, lambda info: info["features"]["action"].update(names=names))
    assert opened(folder).action_names == MOTORS


def test_other_keys_are_taken_if_they_are_named(copied: Copied):
    folder = copied("lerobot_v21")
    source = opened(folder, map={"action": "observation.state"})
    assert source.action_names == ("x", "y")
    np.testing.assert_array_equal(source.actions(0), opened(folder).read(0).columns["proprio"])
    assert "--map action=joints: pick has no such row" in refused(folder, UsageError, map={"action": "joints"})
    change_info(folder, lambda info: info["features"].update(motion=info["features"].pop("action")))
    assert "pick has no actions; it has observation.state, next.reward" in refused(folder)
    assert "leave out --episodes and --preset" in refused(folder, UsageError, preset="robomimic")


def test_size_of_frames_with_channels_first(copied: Copied):
    folder = copied("lerobot_v30")
    turned = {"shape": [3, 48, 64], "names": ["channels", "height", "width"]}
    change_info(folder, lambda info: info["features"][TOP].update(turned))
    assert f"{TOP} (64 x 48)" in refused(folder, UsageError, None)


# Half copied, damaged, contradicting itself


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("lerobot_v30", "data/chunk-000/file-000.parquet"),
        ("lerobot_v30", f"videos/{TOP}/chunk-000/file-000.mp4"),
        ("lerobot_v30", "meta/tasks.parquet"),
        ("lerobot_v30", "meta/episodes"),
        ("lerobot_v21", "data/chunk-000/episode_000001.parquet"),
        ("lerobot_v21", f"videos/chunk-000/{TOP}/episode_000001.mp4"),
        ("lerobot_v21", "meta/tasks.jsonl"),
        ("lerobot_v21", "meta/episodes.jsonl"),
    ],
)
def test_missing_file_is_named(copied: Copied, name: str, gone: str):
    folder = copied(name)
    (shutil.rmtree if (folder / gone).is_dir() else os.remove)(folder / gone)
    said = refused(folder, MissingError)
    assert str(folder / gone) in said
    assert "copy or download" in said


@pytest.mark.parametrize("name", ["lerobot_v30", "lerobot_v21"])
def test_file_that_is_cut_short_is_told_before_anything_is_decoded(copied: Copied, name: str):
    folder = copied(name)
    for path in (video_of(folder), table_of(folder)):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * 3 // 4])
        with pytest.raises(LewmError) as raised:
            opened(folder).actions(1)
        assert f"{path} is cut short" in str(raised.value)
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
        with pytest.raises(LewmError, match="git lfs pull"):
            opened(folder).actions(1)
        path.write_bytes(whole)
    opened(folder).actions(1)


def test_other_episodes_can_be_read_where_one_is_damaged(copied: Copied):
    folder = copied("lerobot_v21")
    video_of(folder).unlink()
    source = opened(folder)
    assert video_of(folder) not in source.files
    assert all(path.exists() for path in source.files)
    with pytest.raises(MissingError, match=r"episode_000001\.mp4 is missing"):
        source.actions(1)
    for number in (0, 2):
        assert len(list(source.read(number).frames)) == len(source.actions(number)) == LENGTHS[number]


def test_description_that_is_cut_short(copied: Copied):
    folder = copied("lerobot_v30")
    path = folder / "meta/info.json"
    path.write_bytes(path.read_bytes()[:500])
    assert "meta/info.json is cut short or no JSON" in refused(folder)


@pytest.mark.parametrize("key", ["fps", "features", "data_path", "total_episodes"])
def test_missing_part_of_the_description_is_named(copied: Copied, key: str):
    folder = copied("lerobot_v30")
    change_info(folder, lambda info: info.pop(key))
    assert f"{key} is missing" in refused(folder)


@pytest.mark.parametrize("template", ["../../{video_key}.mp4", "/etc/passwd", "videos/{camera}.mp4", "", None])
def test_path_that_leads_out_of_the_folder_is_refused(copied: Copied, template: str | None):
    folder = copied("lerobot_v30")
    change_info(folder, lambda info: info.update(video_path=template))
    assert f"{folder / 'meta/info.json'} has a path that" in refused(folder)


def test_line_that_is_damaged_is_counted(copied: Copied):
    folder = copied("lerobot_v21")
    path = folder / "meta/episodes.jsonl"
    path.write_text(path.read_text()[:-20])
    assert f"line 3 of {path} is damaged" in refused(folder)


def test_video_that_is_shorter_than_its_table(copied: Copied):
    folder = copied("lerobot_v21")

    def longer(table: pa.Table) -> pa.Table:
        table = table.take(list(range(5)) + [4] * 3)
        times = pa.array(np.arange(8, dtype=np.float32) / 10)
        return table.set_column(table.column_names.index("timestamp"), "timestamp", times)

    change_table(table_of(folder), longer)
    with_length(folder, 8)
    assert f"{video_of(folder)} ends after 5 of the 8 rows that" in refused(folder)


def test_table_that_is_shorter_than_the_list_says(copied: Copied):
    folder = copied("lerobot_v21")
    with_length(folder, 6)
    assert "episode_000001 has 5 rows in" in refused(folder)
    folder = shutil.rmtree(folder) or copied("lerobot_v30")
    change_table(folder / "data/chunk-000/file-000.parquet", lambda table: table.slice(0, 12))
    assert "episode_000001 has 3 rows in" in refused(folder)


def test_times_that_go_back(copied: Copied):
    folder = copied("lerobot_v21")
    change_table(table_of(folder), lambda table: table.take([0, 2, 1, 3, 4]))
    assert "the timestamps of episode 1" in refused(folder)


@pytest.mark.parametrize("name", ["lerobot_v30", "lerobot_v21"])
def test_episode_that_is_there_twice(copied: Copied, name: str):
    folder = copied(name)
    lines = folder / "meta/episodes.jsonl"
    if lines.exists():
        lines.write_text(lines.read_text().replace('"episode_index": 2', '"episode_index": 1'))
    else:
        table = folder / "meta/episodes/chunk-000/file-000.parquet"
        change_table(table, lambda rows: rows.set_column(0, "episode_index", pa.array([0, 1, 1])))
    assert "lists episode 1 2 times in meta" in refused(folder)


def test_episodes_that_are_not_listed(copied: Copied):
    folder = copied("lerobot_v30")
    change_info(folder, lambda info: info.update(total_episodes=5))
    assert "meta/info.json counts 5 episodes, and 3 are listed beside it" in refused(folder)


def test_episodes_without_a_place(copied: Copied):
    folder = copied("lerobot_v30")
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    key = f"videos/{TOP}/file_index"
    change_table(path, lambda table: table.drop_columns([key]).append_column(key, pa.array([0, None, 0])))
    assert f"{path} does not say of every episode where it lies" in refused(folder)
    change_table(path, lambda table: table.drop_columns([key]))
    assert f"{path} has no column {key!r}" in refused(folder)


def test_actions_of_changing_width(copied: Copied):
    folder = copied("lerobot_v21")
    rows = pa.array([[0.0] * 3] * 3 + [[0.0] * 4] * 2, pa.list_(pa.float32()))
    change_table(table_of(folder), lambda table: table.set_column(0, "action", rows))
    said = refused(folder)
    assert "episode_000001 has a row of 'action'" in said
    assert "other than the 3 numbers that meta/info.json says" in said


def test_image_that_is_damaged_or_not_there(copied: Copied):
    folder = copied("lerobot_v30_images")
    path = table_of(folder)
    place = parquet.read_table(path).column_names.index(TOP)

    def changed(content: bytes | None) -> Callable[[pa.Table], pa.Table]:
        def change(table: pa.Table) -> pa.Table:
            images = table[TOP].to_pylist()
            images[12] = {"bytes": content, "path": None}
            return table.set_column(place, TOP, pa.array(images, table[TOP].type))

        return change

    change_table(path, changed(None))
    assert f"row 3 of episode 1 in {path} has no image" in refused(folder)
    change_table(path, changed(b"\x89PNG damaged"))
    assert f"{path} is damaged, or an image of a kind that is not read" in refused(folder)


def test_av1_without_a_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import imageio_ffmpeg

    # The decoder that ffmpeg has of its own needs hardware, and says what an ffmpeg without libdav1d says.
    program = tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\nexec {imageio_ffmpeg.get_ffmpeg_exe()} -hwaccel none -c:v av1 "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    said = refused(FIXTURES / "lerobot_v30")
    assert f"file-000.mp4 is coded as AV1, for which {program} has no decoder" in said


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        ("v2.0", "python -m lerobot.datasets.v21.convert_dataset_v20_to_v21 --repo-id"),
        ("v1.6", "python -m lerobot.datasets.v2.convert_dataset_v1_to_v2 --repo-id"),
        ("v3.1", "pip install -U lewm-cli"),
        ("v4.0", "pip install -U lewm-cli"),
        ("newest", "v2.1 and v3.0 are read"),
        (None, "v2.1 and v3.0 are read"),
    ],
)
def test_version_that_is_not_read(copied: Copied, version: str | None, advice: str):
    folder = copied("lerobot_v21")
    change_info(folder, lambda info: info.update(codebase_version=version))
    if version == "v1.6":
        (folder / "meta").rename(folder / "meta_data")
    said = refused(folder)
    assert advice in said
    assert str(version) in said


def test_other_folder_is_none_of_these(tmp_path: Path):
    with pytest.raises(LewmError) as raised:
        opened(tmp_path)
    assert "LeRobot" not in str(raised.value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(tree: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in nested tables and lists."""
    found = [path] if path else []
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inside:
        found += places(value, (*path, key))
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_the_description_says_is_read_or_explained(tmp_path: Path, data: st.DataObject):
    folder = tmp_path / "pick"
    if not folder.exists():
        shutil.copytree(FIXTURES / "lerobot_v30", folder)
    tree = json.loads((FIXTURES / "lerobot_v30/meta/info.json").read_text())
    *way, last = data.draw(st.sampled_from(places(tree)))
    inside = tree
    for key in way:
        inside = inside[key]
    inside[last] = data.draw(ANYTHING)
    (folder / "meta/info.json").write_text(json.dumps(tree))
    with suppress(LewmError):
        assert opened(folder).episodes
