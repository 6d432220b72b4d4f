"""`lewm surprise` on a video and a table of its actions."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import imageio.v3 as imageio
import imageio_ffmpeg
import numpy as np
import pytest

from commands import lewm_here
from lewm_cli.data import VideoDataset, holds_frames, open_video, resize
from lewm_cli.errors import LewmError
from lewm_cli.store import Home, Run
from places import PICK
from synthetic import write_recording

pytest_plugins = ("untrained",)

FRAMES = 13
ACTIONS = np.random.default_rng(0).normal(size=(FRAMES, 7)).astype(np.float32)


def picture(height: int = 48, width: int = 48, count: int = FRAMES) -> np.ndarray:
    """A square that moves over a background with a gradient, which a codec keeps well."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[..., 0] = np.linspace(0, 200, width)
    for number, frame in enumerate(frames):
        cv2.rectangle(frame, (2 * number + 4, number + 4), (2 * number + 16, number + 16), (255, 255, 255), -1)
    return frames


def ffmpeg(*arguments: object) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *map(str, arguments)]
    subprocess.run(command, check=True)


def opened(path: Path, actions: np.ndarray = ACTIONS) -> tuple[VideoDataset, str]:
    lines: list[str] = []
    return open_video(path, actions, lines.append), "\n".join(lines)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    imageio.imwrite(path, picture(), fps=30)
    return path


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm", "avi", "mov", "mpg", "ts", "flv", "wmv", "ogv", "gif"])
def test_every_format_gives_every_frame(tmp_path: Path, clip: Path, ending: str):
    made = tmp_path / f"made.{ending}"
    ffmpeg("-i", clip, made)
    path = made.rename(tmp_path / "without-ending")
    assert holds_frames(path)
    dataset, said = opened(path)
    assert said == f"video: {FRAMES} frames of 48 x 48"
    assert np.abs(dataset.read("pixels", slice(None)).astype(int) - picture()).mean() < 20
    assert (dataset.episodes, dataset.rows, dataset.actions.shape) == (1, FRAMES, (FRAMES, 7))


@pytest.mark.parametrize("filters", [("-r", 7), ("-vf", "setpts=PTS*(1+N)", "-fps_mode", "vfr")])
def test_frames_are_as_stored_whatever_the_rate(tmp_path: Path, clip: Path, filters: tuple[object, ...]):
    path = tmp_path / "slow.mp4"
    if filters[0] == "-r":
        ffmpeg(*filters, "-i", clip, path)
    else:
        ffmpeg("-i", clip, *filters, path)
    assert len(opened(path)[0].frames) == FRAMES


@pytest.mark.parametrize(("height", "width"), [(48, 80), (80, 48), (300, 260), (500, 400)])
def test_square_in_the_middle_at_most_as_large_as_released_frames(tmp_path: Path, height: int, width: int):
    frames = picture(height, width, 3)
    for number, frame in enumerate(frames):
        imageio.imwrite(tmp_path / f"{number}.png", frame)
    dataset, said = opened(tmp_path, ACTIONS[:3])
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    assert said.endswith(f"3 frames of {width} x {height}, of which the square in the middle is taken")
    assert np.array_equal(dataset.frames, resize(frames[:, top : top + side, left : left + side], min(side, 224)))


def test_video_of_a_turned_phone_is_upright(tmp_path: Path):
    imageio.imwrite(tmp_path / "lying.mp4", picture(48, 80), fps=30)
    ffmpeg("-display_rotation", 90, "-i", tmp_path / "lying.mp4", "-c", "copy", tmp_path / "turned.mp4")
    assert "frames of 48 x 80" in opened(tmp_path / "turned.mp4")[1]


def test_images_come_in_the_order_of_their_numbers(tmp_path: Path):
    frames = picture()
    for number, frame in enumerate(frames):
        imageio.imwrite(tmp_path / f"frame{number}.png", frame)
    (tmp_path / "notes.txt").write_text("about the frames")
    (tmp_path / "frame0.png").rename(tmp_path / "frame0²1.png")  # whose ² is a digit, and no number
    assert holds_frames(tmp_path)
    assert np.array_equal(opened(tmp_path)[0].frames, frames)
    imageio.imwrite(tmp_path / "frame3.png", picture(32, 32)[0])
    with pytest.raises(LewmError, match="frame 3 has another size"):
        opened(tmp_path)
    (tmp_path / "frame3.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    with pytest.raises(LewmError, match=r"frame3\.png is damaged"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (FRAMES, ""),
        (FRAMES - 1, "actions: 12, none at the last of 13 frames"),
        (FRAMES + 1, "actions: the last of 14 is left out"),
        (FRAMES - 2, "refused: PATH has 13 frames and 11 actions: as many are needed, or one action fewer; cut"),
        (FRAMES + 2, "refused: PATH has 13 frames and 15 actions"),
        (3 * FRAMES, "thin out what is recorded 3 times as often"),
        (6, "thin out what is recorded 2 times as often"),
    ],
)
def test_frames_and_actions_are_counted(clip: Path, count: int, said: str):
    actions = np.resize(ACTIONS, (count, 7))
    try:
        dataset, text = opened(clip, actions)
    except LewmError as error:
        text = f"refused: {error}".replace(str(clip), "PATH")
    else:
        kept = min(count, FRAMES)
        assert np.array_equal(dataset.taken[:kept], actions[:kept])
        assert np.isnan(dataset.taken[kept:]).all()
        assert len(dataset.taken) == FRAMES
    assert said in text


def cut(path: Path, clip: Path) -> None:
    path.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])


def cut_later(path: Path, clip: Path) -> None:
    ffmpeg("-i", clip, "-g", 2, "-f", "matroska", path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (cut, "cannot be decoded: damaged or cut short"),
        (cut_later, "frames and 13 actions"),
        (lambda path, clip: path.write_bytes(clip.read_bytes()[:32] + bytes(500)), "cannot be decoded"),
        (lambda path, clip: ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-f", "mp4", path), "only sound or data"),
        (lambda path, clip: imageio.imwrite(path, picture()[0], extension=".png"), "holds one frame"),
    ],
)
def test_what_holds_no_moving_picture_is_refused(tmp_path: Path, clip: Path, write: Callable[..., None], said: str):
    path = tmp_path / "-odd name'.mp4"
    write(path, clip)
    with pytest.raises(LewmError) as refused:
        opened(path)
    assert said in str(refused.value)
    assert "Traceback" not in str(refused.value)


# The command


@pytest.fixture
def told(home: Home, pick_run: Run, clip: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """A home with a run of seven action dimensions, a clip, and its actions."""
    table = tmp_path / "actions.csv"
    np.savetxt(table, ACTIONS, delimiter=",")
    return home.write, clip, table


def test_surprise_along_a_video_is_that_along_a_recording_of_its_frames(told: tuple[Path, Path, Path], tmp_path: Path):
    home, clip, table = told
    done = lewm_here(home, "surprise", clip, "--actions", table, "--json")
    assert done.code == 0, done.err
    assert f"video: {FRAMES} frames of 48 x 48" in done.err
    result = done.json()
    columns = {"pixels": opened(clip)[0].frames, "action": ACTIONS}
    same = write_recording(tmp_path / "same.h5", [FRAMES], columns=columns)
    expected = lewm_here(home, "surprise", same, "--run", PICK, "--json").json()
    assert result["episodes"] == expected["episodes"]
    assert len(result["episodes"][0]["curves"]["model"]) == (FRAMES - 1) // 2
    assert result["dataset"]["fingerprint"] == expected["dataset"]["fingerprint"]
    assert len(list(home.rglob("surprise-*.svg"))) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("CLIP",), 2, "add --actions FILE"),
        (("CLIP", "--actions", "TABLE", "--perturb", "teleport"), 2, "--perturb simulates recorded states again"),
        (("RECORDING", "--actions", "TABLE"), 2, "--actions is for videos"),
        (("CLIP", "--actions", "nope.csv"), 1, "there is no file nope.csv"),
        (("CLIP", "--actions", "CLIP"), 1, "is a video, and actions are read from a table"),
        (("nope.mp4", "--actions", "TABLE"), 1, "nope.mp4"),
    ],
)
def test_what_cannot_be_meant(
    told: tuple[Path, Path, Path], tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
):
    home, clip, table = told
    recording = write_recording(tmp_path / "recording.h5", dims=7)
    known = {"CLIP": clip, "TABLE": table, "RECORDING": recording}
    done = lewm_here(home, "surprise", *(known.get(argument, argument) for argument in arguments))
    assert said in done.err
    assert done.code == code
    assert done.err.count("lewm: ") == 1


def test_actions_of_another_width(told: tuple[Path, Path, Path], tmp_path: Path):
    home, clip, _ = told
    np.save(tmp_path / "a.npy", ACTIONS[:, :3])
    done = lewm_here(home, "surprise", clip, "--actions", tmp_path / "a.npy")
    assert done.code == 1
    assert "no run fits" in done.err
    assert "train one: lewm train RECORDING" in done.err


def test_verify_says_what_a_video_is(told: tuple[Path, Path, Path]):
    home, clip, _ = told
    assert "is a video or an image, and holds no actions to check" in lewm_here(home, "verify", clip).sentence()
