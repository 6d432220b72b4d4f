"""Videos and folders of images with tables of actions, as people record them, are sources."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from commands import lewm_here
from lewm_cli.data import open_dataset
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.exchange.alignment import Segment, align
from lewm_cli.exchange.recognized import open_source
from lewm_cli.exchange.source import Asked, RawEpisode, Source

RATE = 10
FRAMES = 12
ACTIONS = np.round(np.random.default_rng(0).normal(size=(FRAMES, 2)), 3).astype(np.float32)


def picture(number: int, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    """A frame (H, W, 3), RGB, whose brightness says its number."""
    frame = np.zeros((*size, 3), np.uint8)
    frame[..., 0] = 10 + 7 * number
    frame[: size[0] // 2, :, 2] = 200
    return frame


def number_of(frame: np.ndarray) -> int:
    return round((float(frame[..., 0].mean()) - 10) / 7)


def video(path: Path, count: int = FRAMES, first: int = 0, codec: str = "ffv1", rate: int = RATE) -> Path:
    """Frames numbered from `first` on; FFV1 keeps them exactly."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", "48x32", "-r", str(rate), "-i", "-", "-c:v", codec, "-pix_fmt", "bgr0", "-f", "matroska"]
    content = b"".join(picture(first + number).tobytes() for number in range(count))
    subprocess.run([*command, str(path)], check=True, input=content)
    return path


def images(folder: Path, count: int = FRAMES, name: str = "frame_{}.png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        cv2.imwrite(str(folder / name.format(number)), picture(number)[..., ::-1])
    return folder


def csv(path: Path, actions: np.ndarray = ACTIONS, **first: object) -> Path:
    """A table with columns x and y after those that are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [*first, *"xyzuvw"[: actions.shape[1]]]
    columns = [*map(list, first.values()), *actions.T.tolist()]
    rows = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([",".join(names), *rows]) + "\n")
    return path


def opened(path: Path, **asked: object) -> Source:
    return open_source(path, path.name, Asked(**asked))


def frames_of(raw: RawEpisode) -> list[int]:
    return [number_of(frame) for frame in raw.frames]


def every_action(path: Path) -> None:
    source = opened(path)
    for number in range(len(source.episodes)):
        source.actions(number)


def read(source: Source, number: int = 0) -> tuple[list[int], list[Segment]]:
    """Numbers of the frames of an episode, and its segments."""
    raw = source.read(number)
    numbers = frames_of(raw)
    return numbers, align(len(numbers), raw)


def test_folder_of_videos_with_tables_in_natural_order(tmp_path: Path):
    for number, count in ((10, 5), (2, 4), (1, 3)):
        video(tmp_path / f"run{number}.mkv", count, first=number)
        csv(tmp_path / f"run{number}.csv", ACTIONS[:count], time=np.arange(count) / RATE)
    (tmp_path / "notes.txt").write_text("recorded on Monday")
    (tmp_path / "info.json").write_text("{}")
    source = opened(tmp_path)
    assert source.kind == "videos and tables"
    assert [episode.name for episode in source.episodes] == ["run1.mkv", "run2.mkv", "run10.mkv"]
    assert source.action_names == ("x", "y")
    assert source.fps == RATE
    assert source.camera == "video"
    assert [file.name for file in source.files] == [
        f"run{number}.{ending}" for ending in ("mkv", "csv") for number in (1, 2, 10)
    ]
    assert source.notes == ("actions: x, y of run1.csv; left out: time",)
    for place, (first, count) in enumerate([(1, 3), (2, 4), (10, 5)]):
        assert np.array_equal(source.actions(place), ACTIONS[:count])
        numbers, (segment,) = read(source, place)
        assert numbers == list(range(first, first + count))
        assert np.array_equal(segment.actions[:-1], ACTIONS[: count - 1])


TABLES: dict[str, Callable[[Path], object]] = {
    "csv": csv,
    "npy": lambda path: np.save(path, ACTIONS),
    "npz": lambda path: np.savez(path, action=ACTIONS, state=ACTIONS * 2),
    "json": lambda path: path.write_text(json.dumps({"action": ACTIONS.tolist()})),
    "parquet": lambda path: parquet.write_table(pyarrow.table({"action": ACTIONS.tolist()}), path),
    "tsv": lambda path: path.write_text("\n".join("\t".join(map(str, row)) for row in ACTIONS.tolist())),
}


@pytest.mark.parametrize("ending", TABLES)
def test_every_table(tmp_path: Path, ending: str):
    video(tmp_path / "run1.mkv")
    TABLES[ending](tmp_path / f"run1.{ending}")
    numbers, (segment,) = read(opened(tmp_path))
    assert numbers == list(range(FRAMES))
    assert np.array_equal(segment.actions, ACTIONS)
    if ending == "npz":
        assert "proprio: 2 columns of states" in opened(tmp_path).notes
        assert np.array_equal(segment.columns["proprio"], ACTIONS * 2)


def test_one_video_with_the_table_beside_it(tmp_path: Path):
    path = video(tmp_path / "run.mp4", codec="libx264rgb")
    csv(tmp_path / "run.csv", ACTIONS[:-1])
    csv(tmp_path / "other.csv")
    source = opened(path)
    assert [episode.name for episode in source.episodes] == ["run.mp4"]
    numbers, (segment,) = read(source)
    assert numbers == list(range(FRAMES))
    assert np.array_equal(segment.actions[:-1], ACTIONS[:-1])
    assert np.isnan(segment.actions[-1]).all()


@pytest.mark.parametrize("is_named", [True, False])
def test_folder_that_is_one_episode(tmp_path: Path, is_named: bool):
    video(tmp_path / "video.mkv")
    csv(tmp_path / ("actions.csv" if is_named else "log.csv"))
    if is_named:
        csv(tmp_path / "imu.csv", ACTIONS[:3])
    source = opened(tmp_path)
    assert [episode.name for episode in source.episodes] == [tmp_path.name]
    assert read(source)[0] == list(range(FRAMES))


def test_cameras_in_folders_of_episodes(tmp_path: Path):
    for run in ("run1", "run2", "run10"):
        video(tmp_path / run / "front.mkv")
        video(tmp_path / run / "wrist.mkv", first=20)
        csv(tmp_path / run / "actions.csv")
    with pytest.raises(UsageError, match=r"has 2 cameras, front \(3 episodes\), wrist \(3 episodes\); import one"):
        opened(tmp_path)
    source = opened(tmp_path, camera="wrist")
    assert source.camera == "wrist"
    assert source.cameras == ("front", "wrist")
    assert [episode.name for episode in source.episodes] == ["run1", "run2", "run10"]
    assert read(source, 2)[0] == list(range(20, 20 + FRAMES))
    assert [file.name for file in source.files if file.suffix == ".mkv"] == ["wrist.mkv"] * 3
    with pytest.raises(UsageError, match="has no camera 'side'"):
        opened(tmp_path, camera="side")
    (tmp_path / "run2" / "wrist.mkv").unlink()
    source = opened(tmp_path, camera="wrist")
    with pytest.raises(LewmError, match="run2 has no camera wrist, only front; copy what is missing"):
        source.actions(1)
    assert read(source, 2)[0] == list(range(20, 20 + FRAMES))


def test_a_video_of_another_name_in_every_folder(tmp_path: Path):
    for number in (1, 2):
        video(tmp_path / f"run{number}" / f"cam{number}.mkv")
        csv(tmp_path / f"run{number}" / f"cam{number}.csv")
    source = opened(tmp_path)
    assert [episode.name for episode in source.episodes] == ["run1/cam1.mkv", "run2/cam2.mkv"]


@pytest.mark.parametrize("place", ["run{}/actions.csv", "run{}.csv"])
def test_folders_of_images(tmp_path: Path, place: str):
    for number in (1, 2):
        images(tmp_path / f"run{number}")
        csv(tmp_path / place.format(number), t=[row * 100 for row in range(FRAMES)])
    source = opened(tmp_path)
    assert source.kind == "images and tables"
    assert source.camera == "images"
    assert source.fps == RATE
    assert [(episode.name, episode.frames) for episode in source.episodes] == [("run1", FRAMES), ("run2", FRAMES)]
    assert len(source.files) == 2 * FRAMES + 2
    numbers, (segment,) = read(source, 1)
    assert numbers == list(range(FRAMES))  # frame_10 after frame_9
    assert np.array_equal(segment.actions[:-1], ACTIONS[:-1])
    assert [episode.name for episode in opened(tmp_path / "run1").episodes] == ["run1"]


def test_cameras_as_folders_of_images(tmp_path: Path):
    images(tmp_path / "front", 5)
    images(tmp_path / "wrist", 5)
    csv(tmp_path / "actions.csv", ACTIONS[:5])
    assert opened(tmp_path, camera="front").episodes[0].frames == 5


def test_images_are_given_as_they_are_stored(tmp_path: Path):
    kinds = [np.arange(48 * 32, dtype=np.uint16).reshape(32, 48) * 40, np.full((32, 48), 7, np.uint8)]
    transparent = np.zeros((32, 48, 4), np.uint8)
    transparent[..., 0], transparent[..., 3] = 200, 128
    for number, kind in enumerate([*kinds, transparent]):
        folder = tmp_path / str(number)
        folder.mkdir()
        for row in range(2):
            written = cv2.cvtColor(kind, cv2.COLOR_RGBA2BGRA) if kind.ndim == 3 else kind
            cv2.imwrite(str(folder / f"{row}.png"), written)
        csv(folder / "actions.csv", ACTIONS[:2])
        frame = next(opened(folder).read(0).frames)
        assert frame.dtype == kind.dtype
        assert np.array_equal(frame, kind)


def test_times_in_names_of_images(tmp_path: Path):
    stamps = 1_700_000_000 + np.arange(FRAMES) / RATE
    for number, stamp in enumerate(stamps):
        images(tmp_path, 1, f"{stamp * 1e9:.0f}.png")
        cv2.imwrite(str(tmp_path / f"{stamp * 1e9:.0f}.png"), picture(number)[..., ::-1])
    fast = np.repeat(ACTIONS, 4, axis=0)
    csv(tmp_path / "actions.csv", fast, time=[f"{1_700_000_000 + row / RATE / 4:.3f}" for row in range(len(fast))])
    source = opened(tmp_path)
    assert source.fps == RATE
    numbers, (segment,) = read(source)
    assert segment.frames.tolist() == numbers == list(range(FRAMES))
    assert np.array_equal(segment.actions[:-1], ACTIONS[:-1])


def test_rows_of_another_rate_are_brought_to_frames_by_times(tmp_path: Path):
    video(tmp_path / "run.mkv")
    fast = np.repeat(ACTIONS, 5, axis=0)
    csv(tmp_path / "run.csv", fast, time_ms=[20 * row for row in range(len(fast))])
    numbers, (segment,) = read(opened(tmp_path))
    assert numbers == segment.frames.tolist() == list(range(FRAMES))
    assert np.array_equal(segment.actions[:-1], ACTIONS[:-1])


def test_rows_that_number_their_frames(tmp_path: Path):
    video(tmp_path / "run.mkv")
    kept = [0, 1, 2, 6, 7, 8]
    csv(tmp_path / "run.csv", ACTIONS[kept], frame_index=kept)
    numbers, segments = read(opened(tmp_path))
    assert numbers == list(range(FRAMES))
    assert [segment.frames.tolist() for segment in segments] == [[0, 1, 2, 3], [6, 7, 8, 9]]
    assert np.array_equal(segments[1].actions[:-1], ACTIONS[6:9])
    csv(tmp_path / "run.csv", ACTIONS[:2], frame=[3, 99])
    with pytest.raises(LewmError, match=r"row 2 of .*run\.csv is of frame 99, and .*run\.mkv has 12 frames"):
        opened(tmp_path).read(0)


def test_times_of_rows_for_every_frame_split_at_gaps(tmp_path: Path):
    """Stamps since 1970 are no seconds of the video, and there is a row for every frame, so they are its times."""
    video(tmp_path / "run.mkv")
    stamps = 1.7e9 + np.where(np.arange(FRAMES) < 7, 0, 30) + np.arange(FRAMES) / RATE
    csv(tmp_path / "run.csv", stamp=[f"{stamp:.3f}" for stamp in stamps])
    _, segments = read(opened(tmp_path))
    assert [segment.frames.tolist() for segment in segments] == [list(range(7)), list(range(7, 12))]


# One long video


def long_table(path: Path, rows: np.ndarray, **columns: object) -> None:
    csv(path, ACTIONS[rows], episode=["a"] * 4 + ["b"] * 3 + ["c"] * (len(rows) - 7), **columns)


@pytest.mark.parametrize("rows", [FRAMES, FRAMES - 1])
@pytest.mark.parametrize("has_times", [False, True])
def test_long_video_with_a_column_of_episodes(tmp_path: Path, rows: int, has_times: bool):
    path = video(tmp_path / "day.mkv")
    columns = {"time": np.arange(rows) / RATE} if has_times else {}
    long_table(tmp_path / "day.csv", np.arange(rows), **columns)
    source = opened(path)
    assert [episode.name for episode in source.episodes] == ["day.mkv:a", "day.mkv:b", "day.mkv:c"]
    expected = [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9, 10, 11]]
    assert [frames_of(source.read(number)) for number in range(3)] == expected
    for number, frames in enumerate(expected):
        assert np.array_equal(source.actions(number), ACTIONS[frames[0] : min(frames[-1] + 1, rows)])
        _, (segment,) = read(source, number)
        assert np.array_equal(segment.actions[:-1], ACTIONS[frames[:-1]])


def test_long_video_with_frames_or_times_between_episodes(tmp_path: Path):
    path = video(tmp_path / "day.mkv")
    kept = np.array([0, 1, 2, 3, 6, 7, 8, 9, 10])
    for columns in ({"frame": kept}, {"seconds": kept / RATE}):
        long_table(tmp_path / "day.csv", kept, **columns)
        source = opened(path)
        found = []
        for number in range(3):
            numbers, segments = read(source, number)
            found += [([numbers[frame] for frame in each.frames], each.actions[:-1]) for each in segments]
        assert [frames for frames, _ in found] == [[0, 1, 2, 3, 4], [6, 7, 8], [9, 10, 11]]
        for frames, actions in found:
            assert np.array_equal(actions, ACTIONS[frames[: len(actions)]])


def test_long_video_whose_table_does_not_say_which_frames(tmp_path: Path):
    path = video(tmp_path / "day.mkv")
    long_table(tmp_path / "day.csv", np.arange(9))
    with pytest.raises(LewmError, match=r"day\.mkv:a: 12 frames and 9 actions: as many are needed"):
        opened(path).read(0)
    long_table(tmp_path / "day.csv", np.arange(9), frame=[0, 1, 2, 3, 0, 1, 2, 0, 1])
    with pytest.raises(LewmError, match="counts frames in every episode anew, and has 9 rows for 12 frames"):
        opened(path).read(0)
    long_table(tmp_path / "day.csv", np.arange(9), t=[0, 0.1, 0.2, 0.3, 0, 0.1, 0.2, 0, 0.1])
    with pytest.raises(LewmError, match=r"counts times in every episode anew, .*; count those of all of .*day\.mkv"):
        opened(path).read(1)
    csv(tmp_path / "day.csv", ACTIONS, episode=[0] * 4 + [1] * 4 + [0] * 4)
    with pytest.raises(LewmError, match=r"comes back to episode 0 in row 9"):
        opened(path)


# Choices


def test_chosen_actions(tmp_path: Path):
    video(tmp_path / "run1.mkv")
    csv(tmp_path / "run1.csv", ACTIONS, note=["on"] * FRAMES, grip=range(FRAMES))
    source = opened(tmp_path, action=("grip", "x"))
    assert source.action_names == ("grip", "x")
    assert np.array_equal(source.actions(0), np.stack([np.arange(FRAMES), ACTIONS[:, 0]], axis=1).astype(np.float32))
    with pytest.raises(LewmError, match=r"has no column q; there is note, grip, x, y"):
        opened(tmp_path, action=("q",))
    with pytest.raises(LewmError, match="holds 'on' as note"):
        opened(tmp_path)


# What cannot be meant


def twins(folder: Path) -> None:
    for ending in ("mkv", "avi"):
        video(folder / f"run1.{ending}")
    csv(folder / "run1.csv")


def widths(folder: Path) -> None:
    for number, width in enumerate((2, 3)):
        video(folder / f"run{number}.mkv")
        csv(folder / f"run{number}.csv", np.zeros((FRAMES, width)))


def uneven(folder: Path) -> None:
    video(folder / "run1.mkv")
    (folder / "run1.csv").write_text("x,y\n1,2\n3\n")


def lonely_video(folder: Path) -> None:
    twins(folder)
    (folder / "run1.avi").rename(folder / "run7.avi")


def lonely_table(folder: Path) -> None:
    lonely_video(folder)
    (folder / "run7.avi").unlink()
    csv(folder / "run8.csv")
    csv(folder / "run9.npz")


def other_table(folder: Path) -> None:
    video(folder / "run2.mkv")
    csv(folder / "run1.csv")


def lost_video(folder: Path) -> None:
    for run in ("run1", "run2"):
        video(folder / run / "video.mkv")
        csv(folder / run / "actions.csv")
    (folder / "run2" / "video.mkv").unlink()


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda folder: None, "NAME is an empty folder; name one that holds a recording"),
        (lambda folder: (folder / "a.txt").write_text("words"), "NAME is of no layout that is known"),
        (twins, "NAME has run1.avi and run1.mkv, and one table for both; keep one of them"),
        (widths, "run1.csv has 3 action columns (x, y, z), and PATH/run0.csv 2 action columns (x, y); write the same"),
        (uneven, "row 2 of PATH/run1.csv, the names not counted, has 1 columns, and the first 2"),
        (lonely_video, "run7.avi has no table of actions; write one beside it, like run7.csv with a row for"),
        (lonely_table, "run8.csv has no video; copy what is missing"),
        (other_table, "run2.mkv has no table of actions"),
        (lost_video, "run2/actions.csv has no video"),
        (images, "NAME has no table of actions; write one"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, write: Callable[[Path], object], said: str):
    """Said when it is opened if nothing else can be read, else by its episode."""
    write(tmp_path)
    with pytest.raises(LewmError) as refused:
        every_action(tmp_path)
    assert said.replace("NAME", tmp_path.name).replace("PATH", str(tmp_path)) in str(refused.value)
    assert "\n" not in str(refused.value)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


@pytest.mark.parametrize(
    ("count", "actions", "said"),
    [
        (FRAMES - 3, FRAMES, "there are 9 frames and 12 actions"),
        (FRAMES, FRAMES - 3, "there are 12 frames and 9 actions: as many are needed, or one action fewer; cut what"),
        (FRAMES, FRAMES // 2, "thin out what is recorded 2 times as often, or give times of both"),
    ],
)
def test_video_and_table_of_other_lengths(tmp_path: Path, count: int, actions: int, said: str):
    video(tmp_path / "run.mkv", count)
    csv(tmp_path / "run.csv", ACTIONS[:actions])
    with pytest.raises(LewmError, match=re.escape(said)):
        read(opened(tmp_path))


def test_clocks_that_have_nothing_in_common(tmp_path: Path):
    video(tmp_path / "run.mkv")
    csv(tmp_path / "run.csv", ACTIONS[:6], time=[f"{1.7e9 + row:.1f}" for row in range(6)])
    with pytest.raises(LewmError, match=r"frames are from 0\.000 to 1\.100 s and actions from 1700000000\.000 to"):
        read(opened(tmp_path))


def test_damaged_videos(tmp_path: Path):
    path = video(tmp_path / "run.mkv")
    csv(tmp_path / "run.csv")
    cut(path)
    with pytest.raises(LewmError, match=r"run\.mkv is damaged or cut short"):
        read(opened(tmp_path))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "lavfi", "-i", "sine=duration=1"]
    subprocess.run([*command, str(path)], check=True)
    with pytest.raises(LewmError, match=r"run\.mkv holds no picture, only sound or data"):
        read(opened(tmp_path))


def test_videos_of_two_rates(tmp_path: Path):
    for number, rate in ((1, RATE), (2, 2 * RATE)):
        video(tmp_path / f"run{number}.mkv", rate=rate)
        csv(tmp_path / f"run{number}.csv")
    with pytest.raises(LewmError, match=r"run2\.mkv has 20 frames per second, and the videos before it 10; import"):
        opened(tmp_path).read(1)


def test_empty_video_among_others(tmp_path: Path):
    for number in (1, 2):
        video(tmp_path / f"run{number}.mkv")
        csv(tmp_path / f"run{number}.csv")
    (tmp_path / "run1.mkv").write_bytes(b"")
    source = opened(tmp_path)
    with pytest.raises(LewmError, match=r"run1\.mkv cannot be decoded: damaged or cut short"):
        read(source)
    assert read(source, 1)[0] == list(range(FRAMES))


def test_video_of_one_frame_has_no_segment(tmp_path: Path):
    video(tmp_path / "run.mkv", 1)
    csv(tmp_path / "run.csv", ACTIONS[:1])
    assert read(opened(tmp_path)) == ([0], [])


def test_images_of_two_sizes_and_a_damaged_one(tmp_path: Path):
    images(tmp_path, 4)
    csv(tmp_path / "actions.csv", ACTIONS[:4])
    cv2.imwrite(str(tmp_path / "frame_2.png"), picture(2, (30, 40)))
    with pytest.raises(LewmError, match=r"frame_2\.png is 40 x 30 pixels, and the images before it 48 x 32; make"):
        read(opened(tmp_path))
    (tmp_path / "frame_2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(LewmError, match=r"frame_2\.png is damaged"):
        read(opened(tmp_path))


def test_folder_that_was_copied_half(tmp_path: Path):
    for run in ("run1", "run2"):
        images(tmp_path / run, 3)
        csv(tmp_path / f"{run}.csv", ACTIONS[:3])
    shutil.rmtree(tmp_path / "run2")
    source = opened(tmp_path)
    assert [episode.name for episode in source.episodes] == ["run1", "run2.csv"]
    for reading in (source.actions, source.read):
        with pytest.raises(LewmError, match=r"run2\.csv has no video; copy what is missing"):
            reading(1)
    assert read(source)[0] == [0, 1, 2]


# The command


def test_import_and_what_becomes_of_it(tmp_path: Path):
    """Rows are the frames of the videos, bit for bit, in segments without gaps; damaged episodes are left out."""
    folder, home = tmp_path / "vids", tmp_path / "home"
    video(folder / "run1.mkv")
    csv(folder / "run1.csv", time=[row / RATE + (5 if row > 6 else 0) for row in range(FRAMES)])
    video(folder / "run2.mkv", 5, first=20)
    csv(folder / "run2.csv", ACTIONS[:5], time=np.arange(5) / RATE)
    csv(folder / "run3.csv", ACTIONS[:5], time=np.arange(5) / RATE)
    line = ("import", folder, "--name", "vids", "--fit", "squash", "--size", 32)
    refused = lewm_here(home, *line)
    assert refused.code == 1
    assert "run3.csv has no video; copy what is missing" in refused.err
    done = lewm_here(home, *line, "--skip-damaged", "--json")
    assert done.code == 0, done.err
    dataset = open_dataset(home / "vids.h5", "vids")
    assert dataset.lengths.tolist() == [7, 5, 5]
    assert dataset.fps == RATE
    numbers = [*range(7), *range(7, 12), *range(20, 25)]
    assert [number_of(frame) for frame in dataset.read("pixels", slice(None))] == numbers
    assert dataset.read("source_row", slice(None)).tolist() == [*range(12), *range(5)]
    actions = dataset.read("action", slice(None))
    ends = [6, 11, 16]
    assert np.isnan(actions[ends]).all()
    assert np.array_equal(np.delete(actions, ends, axis=0), np.delete(np.concatenate([ACTIONS, ACTIONS[:5]]), ends, 0))
