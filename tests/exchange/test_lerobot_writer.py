"""Recordings written as LeRobot data sets: beside what lerobot itself wrote, and back again bit for bit."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from commands import Done, ended, left_behind, lewm, lewm_here, running, wait_until
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.data.video_frames import decoded_frames, frame_times
from lewm_cli.exchange.lerobot_features import choose_features, counting_features, find_stretches
from lewm_cli.exchange.lerobot_writer import LeRobotFormat, LeRobotWriter
from lewm_cli.exchange.video_encoding import VideoCodec, VideoFormat
from synthetic import write_recording

pytest_plugins = ("recordings",)

FIXTURES = Path(__file__).parents[1] / "fixtures"
PYTHON = os.environ.get("LEWM_LEROBOT_PYTHON") or (sys.executable if find_spec("lerobot") else None)
"""A Python that has the package lerobot."""

LENGTHS = (12, 9, 20)
SIZE = 64
SEEN = "observation.images.camera"
ALL = slice(None)


def filmed(path: Path, lengths: Sequence[int] = LENGTHS, size: int = SIZE, **options: Any) -> Dataset:
    """A recording of a disk that jumps over an even floor."""
    rows, generator = sum(lengths), np.random.default_rng(1)
    y, x = np.mgrid[:size, :size]
    places = generator.uniform(0, size, (rows, 2))
    inside = np.hypot(x - places[:, :1, None], y - places[:, 1:, None]) < size / 6
    pixels = np.where(inside[..., None], [200, 60, 30], [90, 160, 200]).astype(np.uint8)
    columns = {
        "pixels": pixels,
        "proprio": places.astype(np.float32),
        "state": generator.normal(size=(rows, 3)),
        "reward": generator.normal(size=rows).astype(np.float32),
        "terminated": np.zeros(rows, bool),
    }
    columns |= options.pop("columns", {})
    return open_dataset(write_recording(path, lengths, dims=2, columns=columns, **options), path.stem)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a recording that says its rate."""
    filmed(tmp_path / "home" / "robot" / "pick.h5", fps=10)
    return tmp_path / "home"


def export(home: Path, folder: Path, *arguments: object, dataset: object = "robot/pick") -> Done:
    """Exports in this process."""
    return lewm_here(home, "export", dataset, "--to", "lerobot", "--output", folder, "--workers", 1, *arguments)


def exported(home: Path, folder: Path, *arguments: object, dataset: object = "robot/pick") -> Any:
    """Exports, and parses the result."""
    done = export(home, folder, "--json", *arguments, dataset=dataset)
    assert done.code == 0, done.err
    return done.json()


def imported(home: Path, folder: Path, name: str = "back", *arguments: object) -> Dataset:
    """Imports a folder."""
    done = lewm_here(home, "import", folder, "--name", name, "--workers", 1, *arguments)
    assert done.code == 0, done.err
    return open_dataset(home / f"{name}.h5", name)


def acted(dataset: Dataset) -> np.ndarray:
    """The row whose action stands at every frame: its own, or after the last one that before it."""
    rows = np.arange(len(dataset.actions))
    return np.where(np.isfinite(dataset.actions).all(axis=1), rows, rows - 1)


def info_of(folder: Path) -> Any:
    """Reads meta/info.json."""
    return json.loads((folder / "meta/info.json").read_text(), parse_constant=lambda word: pytest.fail(word))


def rows_of(folder: Path) -> Any:
    """Reads all tables of data, as one."""
    return pq.read_table(sorted((folder / "data").glob("*/*.parquet")))


def column(table: Any, key: str) -> np.ndarray:
    """A column of a table as an array."""
    return np.array(table[key].to_pylist())


def write(dataset: Dataset, folder: Path, codec: VideoCodec | None = None, **limits: float) -> Path:
    """Writes with limits of its own."""
    folder.mkdir()
    stretches, rate = find_stretches(dataset, "drop"), Fraction(10)
    format = LeRobotFormat("camera", rate, ("pick",), VideoFormat(codec, 30, rate) if codec else None, **limits)
    chosen, _ = choose_features(dataset, stretches, (), ())
    features = (*chosen, *counting_features(dataset, stretches, rate, tasks=False))
    LeRobotWriter(dataset, stretches, features, format, folder).write(1, lambda done: None, lambda: None)
    return folder


# Beside what lerobot writes


@pytest.mark.parametrize(("frames", "theirs"), [("video", "lerobot_v30"), ("png", "lerobot_v30_images")])
def test_layout_is_that_of_lerobot(home: Path, tmp_path: Path, frames: str, theirs: str):
    exported(home, tmp_path / "out", "--frames", frames, "--camera", "top")
    ours, theirs = tmp_path / "out", FIXTURES / theirs

    def files(folder: Path) -> set[str]:
        found = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        return {path for path in found if "wrist" not in path}  # they have two cameras

    assert files(ours) == files(theirs)
    info, their_info = info_of(ours), info_of(theirs)
    assert info.keys() == their_info.keys()
    for key in ("codebase_version", "chunks_size", "data_files_size_in_mb", "video_files_size_in_mb", "data_path"):
        assert info[key] == their_info[key]
    assert info["video_path"] == their_info["video_path"] or frames == "png"
    for key in ("action", "observation.state", "timestamp", "frame_index", "episode_index", "index", "task_index"):
        feature, their_feature = info["features"][key], their_info["features"][key]
        assert feature.keys() - {"fps"} == their_feature.keys() - {"fps"}
        assert feature["dtype"] == their_feature["dtype"]
    seen, their_seen = (tree["features"]["observation.images.top"] for tree in (info, their_info))
    assert seen.keys() == their_seen.keys()
    assert seen["names"] == their_seen["names"]
    assert seen.get("info", {}).keys() == their_seen.get("info", {}).keys()
    assert seen.get("info", {}).get("video.codec") == their_seen.get("info", {}).get("video.codec")

    def types(path: str, left: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
        schemas = (pq.read_schema(folder / path) for folder in (ours, theirs))
        mine, other = ({field.name: str(field.type) for field in schema} for schema in schemas)
        return mine, {name: kind for name, kind in other.items() if not any(word in name for word in left)}

    mine, other = types("data/chunk-000/file-000.parquet", ("wrist", "next.reward", "action", "observation.state"))
    assert mine.items() >= other.items()
    assert (mine["action"], mine["observation.state"]) == ("fixed_size_list<element: float>[2]",) * 2
    mine, other = types("meta/episodes/chunk-000/file-000.parquet", ("wrist", "next.reward"))
    assert mine.items() >= other.items()
    words, their_words = (
        json.loads(pq.read_schema(folder / "meta/tasks.parquet").metadata[b"pandas"]) for folder in (ours, theirs)
    )
    assert words["index_columns"] == their_words["index_columns"]
    assert [one["field_name"] for one in words["columns"]] == [one["field_name"] for one in their_words["columns"]]
    statistics, their_statistics = (json.loads((folder / "meta/stats.json").read_text()) for folder in (ours, theirs))
    assert statistics["action"].keys() == their_statistics["action"].keys()
    assert np.shape(statistics["observation.images.top"]["q01"]) == (3, 1, 1)


@pytest.mark.skipif(PYTHON is None, reason="lerobot is not here; LEWM_LEROBOT_PYTHON names a Python that has it")
@pytest.mark.parametrize(
    ("frames", "backend"),
    [
        ("--codec=av1", "torchcodec"),
        ("--codec=av1", "pyav"),
        ("--codec=h264", "torchcodec"),
        ("--codec=h264", "pyav"),
        ("--codec=hevc", "torchcodec"),
        ("--frames=png", "torchcodec"),
    ],
)
def test_lerobot_reads_it(home: Path, tmp_path: Path, frames: str, backend: str):
    exported(home, tmp_path / "out", frames, "--fps", "29.97", "--task", "pick the cube")
    script = Path(__file__).with_name("read_by_lerobot.py")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": ""}
    command = [PYTHON, script, tmp_path / "out", tmp_path / "read.npz", backend]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "read.npz") as read:
        dataset = open_dataset(home / "robot/pick.h5", "pick")
        np.testing.assert_array_equal(read["action"], dataset.actions[acted(dataset)])
        np.testing.assert_array_equal(read["observation.state"], dataset.read("proprio", ALL))
        np.testing.assert_array_equal(
            read["observation.environment_state"], dataset.read("state", ALL).astype(np.float32)
        )
        np.testing.assert_array_equal(read["episodes"][:, 1], np.cumsum(LENGTHS))
        steps = np.concatenate([np.arange(length) for length in LENGTHS])
        np.testing.assert_array_equal(read["timestamp"], (steps / 29.97).astype(np.float32))
        assert set(read["task"]) == {"pick the cube"}
        recorded = dataset.read("pixels", ALL).astype(np.float32)
        errors = [np.square(recorded - frame).mean(axis=(1, 2, 3)) for frame in read[SEEN]]
        np.testing.assert_array_equal(np.argmin(errors, axis=1), np.arange(len(recorded)))  # each is nearest to its own
        assert (np.diag(errors).max() == 0) == (frames == "--frames=png")
        np.testing.assert_allclose(read["stats/action/mean"], dataset.actions[acted(dataset)].mean(axis=0), rtol=1e-5)
        assert read[f"clip/{SEEN}"].shape == (2, 3, SIZE, SIZE)


# Back again


@pytest.mark.parametrize("last_row", ["drop", "repeat"])
def test_images_come_back_bit_for_bit(home: Path, tmp_path: Path, last_row: str):
    result = exported(home, tmp_path / "out", "--frames", "png", "--last-row", last_row)
    dataset, back = open_dataset(home / "robot/pick.h5", "pick"), imported(home, tmp_path / "out")
    known = np.isfinite(dataset.actions).all(axis=1)
    kept = np.flatnonzero(known) if last_row == "drop" else np.arange(len(known))
    assert result["frames"] == back.rows == len(kept)
    assert back.lengths.tolist() == [length - (last_row == "drop") for length in LENGTHS]
    actions = dataset.actions[kept]
    actions[np.cumsum(back.lengths) - 1] = np.nan  # no frame shows what these led to
    np.testing.assert_array_equal(back.actions, actions)
    assert (back.fps, result["psnr"]) == (10, None)
    np.testing.assert_array_equal(back.read("pixels", ALL), dataset.read("pixels", kept))
    for name in ("proprio", "state"):
        np.testing.assert_array_equal(back.read(name, ALL), dataset.read(name, kept))
        assert back.read(name, ALL).dtype == dataset.read(name, kept).dtype
    assert back.imported.action_names == ("action_0", "action_1")


def test_imported_recording_goes_out_as_it_came(home: Path, tmp_path: Path):
    first = imported(home, FIXTURES / "lerobot_v30_images", "first", "--camera", "top")
    exported(home, tmp_path / "out", "--frames", "png", dataset="first")
    back = imported(home, tmp_path / "out", "second")
    for name in ("pixels", "action", "proprio", "task_index"):
        np.testing.assert_array_equal(back.read(name, ALL), first.read(name, ALL))
    assert back.imported.action_names == first.imported.action_names == ("shoulder.pos", "elbow.pos", "gripper.pos")
    assert back.imported.camera == first.imported.camera
    ours, theirs = (
        pq.read_table(folder / "meta/tasks.parquet") for folder in (tmp_path / "out", FIXTURES / "lerobot_v30_images")
    )
    assert ours.to_pydict() == theirs.to_pydict()
    episodes = pq.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet")
    assert set(np.concatenate(episodes["tasks"].to_pylist())) == set(ours["__index_level_0__"].to_pylist())


# Videos


@pytest.mark.parametrize(("codec", "fps"), [("av1", 29.97), ("h264", 10), ("h264", 12.5), ("hevc", 30)])
def test_every_frame_of_a_video_is_at_its_time(home: Path, tmp_path: Path, codec: str, fps: float):
    result = exported(home, tmp_path / "out", "--codec", codec, "--fps", fps)
    video = tmp_path / "out/videos" / SEEN / "chunk-000/file-000.mp4"
    np.testing.assert_allclose(frame_times(video), np.arange(sum(LENGTHS)) / fps, atol=1e-6)
    episodes = pq.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet").to_pydict()
    starts = np.array(episodes[f"videos/{SEEN}/from_timestamp"])
    np.testing.assert_allclose(starts * fps, episodes["dataset_from_index"], atol=1e-6)
    recorded = open_dataset(home / "robot/pick.h5", "pick").read("pixels", ALL)
    error = np.square(np.stack(list(decoded_frames(video))).astype(float) - recorded).mean()
    assert result["psnr"] == pytest.approx(10 * math.log10(255**2 / error), abs=0.01)
    assert result["psnr"] > 28
    assert info_of(tmp_path / "out")["fps"] == fps


def test_better_quality_is_nearer_and_larger(home: Path, tmp_path: Path):
    usual, best = (exported(home, tmp_path / str(crf), "--codec", "h264", "--quality", crf) for crf in (30, 5))
    assert best["psnr"] > usual["psnr"] + 1
    assert best["bytes"] > usual["bytes"]


def test_folder_does_not_depend_on_the_workers(home: Path, tmp_path: Path):
    for workers in (1, 3):
        done = lewm(
            home, "export", "robot/pick", "--to", "lerobot", "--output", tmp_path / str(workers), "--workers", workers
        )
        assert done.code == 0, done.err
    one, three = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "1", tmp_path / "3")
    )
    assert one == three


# Numbers


def test_statistics_are_those_of_what_is_written(home: Path, tmp_path: Path):
    exported(home, tmp_path / "out", "--frames", "png")
    table, stats = rows_of(tmp_path / "out"), json.loads((tmp_path / "out/meta/stats.json").read_text())
    pixels = open_dataset(home / "robot/pick.h5", "pick").read("pixels", ALL) / 255
    episodes = pq.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    keys = [key for key in info_of(tmp_path / "out")["features"] if key != SEEN]
    assert stats.keys() == {SEEN, *keys}
    for chosen, found in [(slice(None), {key: stats[key] for key in stats})] + [
        (slice(each["dataset_from_index"], each["dataset_to_index"]), _nested(each)) for each in episodes
    ]:
        values = {key: column(table, key)[chosen].reshape(len(pixels[chosen]), -1) for key in keys}
        for key, rows in values.items():
            np.testing.assert_allclose(found[key]["mean"], rows.mean(axis=0), rtol=1e-9)
            np.testing.assert_allclose(found[key]["std"], rows.std(axis=0), rtol=1e-9)
            np.testing.assert_array_equal(found[key]["min"], rows.min(axis=0))
            np.testing.assert_array_equal(found[key]["max"], rows.max(axis=0))
            np.testing.assert_allclose(found[key]["q10"], np.quantile(rows, 0.1, axis=0), rtol=1e-9)
            assert found[key]["count"] == [len(rows)]
        colors = pixels[chosen].reshape(-1, 3)
        for name, of in {"mean": np.mean, "std": np.std, "min": np.min, "max": np.max}.items():
            np.testing.assert_allclose(np.ravel(found[SEEN][name]), of(colors, axis=0), rtol=1e-9)
        median = np.quantile(colors, 0.5, axis=0, method="inverted_cdf")
        np.testing.assert_allclose(np.ravel(found[SEEN]["q50"]), median)
        assert found[SEEN]["count"] == [len(pixels[chosen])]


def _nested(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, value in row.items():
        if name.startswith("stats/"):
            _, key, kind = name.split("/")
            found.setdefault(key, {})[kind] = value
    return found


def test_counting_columns_count(home: Path, tmp_path: Path):
    exported(home, tmp_path / "out", "--frames", "png")
    table, lengths = rows_of(tmp_path / "out"), np.array(LENGTHS)
    np.testing.assert_array_equal(column(table, "index"), np.arange(lengths.sum()))
    np.testing.assert_array_equal(column(table, "episode_index"), np.repeat(np.arange(3), lengths))
    steps = np.concatenate([np.arange(length) for length in lengths])
    np.testing.assert_array_equal(column(table, "frame_index"), steps)
    np.testing.assert_array_equal(column(table, "timestamp"), (steps / 10).astype(np.float32))


def test_tables_are_no_larger_than_asked(home: Path, tmp_path: Path):
    dataset = open_dataset(write_recording(home / "noise.h5", LENGTHS, size=48), "noise")
    one = write(dataset, tmp_path / "one")
    limit = 0.8 * (one / "data/chunk-000/file-000.parquet").stat().st_size
    some = write(dataset, tmp_path / "some", table_megabytes=limit / 2**20)
    files = sorted((some / "data/chunk-000").iterdir())
    assert [file.name for file in files] == ["file-000.parquet", "file-001.parquet"]
    assert all(file.stat().st_size <= limit for file in files)
    assert rows_of(some).equals(rows_of(one))
    np.testing.assert_array_equal(imported(home, some).lengths, np.array(LENGTHS) - 1)


def test_videos_are_no_larger_than_asked(home: Path, tmp_path: Path):
    dataset = open_dataset(home / "robot/pick.h5", "pick")
    one = write(dataset, tmp_path / "one", VideoCodec.H264)
    limit = 0.9 * (one / "videos" / SEEN / "chunk-000/file-000.mp4").stat().st_size
    some = write(dataset, tmp_path / "some", VideoCodec.H264, video_megabytes=limit / 2**20)
    files = sorted((some / "videos" / SEEN / "chunk-000").iterdir())
    assert len(files) > 1
    assert all(file.stat().st_size <= limit for file in files)
    whole, parts = imported(home, one, "whole"), imported(home, some, "parts")
    np.testing.assert_array_equal(whole.read("pixels", ALL), parts.read("pixels", ALL))


# What is not as usual


def test_rate_of_a_simulator_is_known(home: Path, tmp_path: Path):
    filmed(home / "pushes.h5", task="pusht")
    result = exported(home, tmp_path / "out", "--frames", "png", dataset="pushes")
    assert (result["fps"], result["tasks"]) == (10, ["pusht"])


def test_usual_folder_is_here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    done = lewm_here(home, "export", "robot/pick", "--to", "lerobot", "--frames", "png", "--workers", 1)
    assert done.code == 0, done.err
    assert (tmp_path / "robot-pick-lerobot/meta/info.json").exists()


def test_gap_in_the_middle_splits_an_episode(home: Path, tmp_path: Path):
    dataset = filmed(home / "gap.h5", fps=10)
    with h5py.File(dataset.path, "r+") as file:
        file["action"][4, 1] = np.nan
    done = export(home, tmp_path / "out", "--frames", "png", dataset="gap")
    assert done.code == 0, done.err
    assert "note: rows without an action split episodes, so that there are 1 more" in done.err
    assert "note: at 4 frames no action was taken, and the one before stands there; --last-row drop" in done.err
    np.testing.assert_array_equal(imported(home, tmp_path / "out").lengths, [5, 7, 9, 20])


def test_episodes_of_one_frame(home: Path, tmp_path: Path):
    filmed(home / "short.h5", (1, 5, 1), fps=10)
    done = export(home, tmp_path / "out", "--frames", "png", dataset="short")
    assert done.code == 0, done.err
    assert "note: 2 episodes without any action left out" in done.err
    assert info_of(tmp_path / "out")["total_episodes"] == 1
    filmed(home / "shorter.h5", (1, 1, 1), fps=10)
    assert "a world model needs actions" in export(home, tmp_path / "none", dataset="shorter").sentence()


def test_episode_of_one_frame_with_an_action_is_written(home: Path, tmp_path: Path):
    filmed(home / "short.h5", (1, 5), fps=10, columns={"action": np.ones((6, 2), np.float32)})
    assert exported(home, tmp_path / "out", dataset="short")["frames"] == 6
    times = frame_times(tmp_path / "out/videos" / SEEN / "chunk-000/file-000.mp4")
    np.testing.assert_allclose(times, np.arange(6) / 10)


def test_what_is_not_written_is_said(home: Path, tmp_path: Path):
    rows = sum(LENGTHS)
    odd = {"success": np.full(rows, np.nan), "field": np.zeros((rows, 2, 2)), "count": np.arange(rows)}
    filmed(home / "odd.h5", fps=10, columns=odd)
    result = exported(home, tmp_path / "out", "--frames", "png", dataset="odd")
    left = " ".join(result["left_out"])
    for word in (
        "success (NaN or infinite in 41 places)",
        "field (float64 of several axes)",
        "count (int64)",
        "terminated (bool)",
    ):
        assert word in left
    assert "observation.reward" in result["features"]


def test_refusals(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = tmp_path / "out"
    assert "'rlds' is not one of 'lerobot'" in lewm_here(home, "export", "robot/pick", "--to", "rlds").sentence(2)
    assert "Missing option '--to'" in lewm_here(home, "export", "robot/pick").sentence(2)
    filmed(home / "still.h5")
    assert "does not say how many frames a second it has; add --fps" in export(home, out, dataset="still").sentence(2)
    assert "leave them out" in export(home, out, "--frames", "png", "--quality", 3).sentence(2)
    assert "cannot name a folder" in export(home, out, "--camera", "../top").sentence(2)
    filmed(home / "odd.h5", size=21, fps=10)
    assert "videos need an even number; choose --frames png" in export(home, out, dataset="odd").sentence(2)
    assert "there is no dataset 'nothing'" in export(home, out, dataset="nothing").sentence()
    (home / "damaged.h5").write_bytes((home / "robot/pick.h5").read_bytes()[:5000])
    assert "cut short" in export(home, out, dataset="damaged").sentence()
    filmed(home / "endless.h5", fps=10, columns={"action": np.full((sum(LENGTHS), 2), np.inf, np.float32)})
    assert "action is infinite" in export(home, out, dataset="endless").sentence()
    (tmp_path / "file").write_text("mine")
    assert "is there already, and nothing is overwritten" in export(home, tmp_path / "file").sentence()
    assert "is there already, and nothing is overwritten" in export(home, home).sentence()
    assert "is a file, not a folder" in export(home, tmp_path / "file" / "out").sentence()
    assert "cannot be written" in export(home, Path("/proc/out")).sentence()
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho \"Unknown encoder 'libsvtav1'\" >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    assert "has no encoder libsvtav1; choose another --codec" in export(home, out).sentence()
    assert not out.exists()
    assert left_behind(tmp_path) == []


def test_full_disk_is_a_sentence(home: Path, small_disk, tmp_path: Path):
    for arguments in (("--frames", "png"), ("--codec", "h264", "--quality", 0)):
        disk = small_disk("16k")
        assert "the disk is full" in export(home, disk / "out", *arguments).sentence()
        assert list(disk.iterdir()) == []


def test_damaged_frames_leave_nothing(home: Path, tmp_path: Path):
    filmed(home / "hurt.h5", fps=10)
    with h5py.File(home / "hurt.h5") as file:
        place = file["pixels"].id.get_offset()
    assert place is not None
    os.truncate(home / "hurt.h5", place + 20 * SIZE * SIZE * 3)
    assert "cut short" in export(home, tmp_path / "out", dataset="hurt").sentence()
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_interrupted_export_leaves_nothing(home: Path, tmp_path: Path):
    filmed(home / "long.h5", (50,) * 200, fps=10)
    with running(home, "export", "long", "--to", "lerobot", "--output", tmp_path / "out", "--workers", 2) as process:
        wait_until(lambda: any(tmp_path.glob(".out.*/parts/*.mp4")), process)
        process.send_signal(signal.SIGINT)
        done = ended(process)
    assert "nothing half-written was left behind" in done.sentence(130)
    assert not (tmp_path / "out").exists()
    assert left_behind(tmp_path) == []
