"""Surprise while frames are taken: the numbers of a recording, and what goes wrong on the way."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import imageio.v3 as imageio
import imageio_ffmpeg
import numpy as np
import pytest

import lewm_cli
from commands import Done, ended, lewm_here, running
from lewm_cli.data import FrameAlarm, frame_stream, open_dataset
from lewm_cli.data.video_frames import COLORS
from lewm_cli.errors import LewmError
from lewm_cli.flows.results import keep_result
from lewm_cli.statistics import Rate
from lewm_cli.store import Home, Run
from lewm_cli.surprise import Alarm
from places import PICK
from synthetic import write_recording

pytest_plugins = ("untrained",)

PAGE = (Path(__file__).parents[2] / "docs" / "robot.md").read_text(encoding="utf-8")

FRAMES, SIDE, SKIP, DIMS, HISTORY = 13, 48, 2, 7, 3
PIXELS = np.random.default_rng(1).integers(0, 256, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
ACTIONS = np.random.default_rng(0).normal(size=(FRAMES, DIMS)).astype(np.float32)
HOLED = np.where(np.arange(FRAMES)[:, None] == 4, np.nan, ACTIONS)

Numbers = list[float | None]


def stored(home: Home, path: Path, *options: object) -> list[Numbers]:
    """The model's curves of a recording as the command measures them."""
    done = lewm_here(home.write, "surprise", path, "--run", PICK, "--json", *options)
    assert done.code == 0, done.err
    return [one["curves"]["model"] for one in done.json()["episodes"]]


def streamed(surprise: lewm_cli.Surprise, frames: np.ndarray, actions: np.ndarray) -> Numbers:
    """The same of frames (N, H, W, 3) that come one by one, with the actions (N, A) at them."""
    found = [surprise.update(frames[0])]
    found += [surprise.update(frames[row], actions[row - SKIP : row]) for row in range(SKIP, len(frames), SKIP)]
    assert found[0].surprise is None
    assert [(one.step, one.row) for one in found] == [(step, SKIP * step) for step in range(len(found))]
    return [one.surprise for one in found[1:]]


def steps(done: Done) -> list[dict[str, object]]:
    """The lines that a stream printed."""
    return [json.loads(line) for line in done.out.splitlines()]


def numbers(done: Done) -> list[object]:
    return [one["surprise"] for one in steps(done)]


# The numbers of a recording


@pytest.mark.parametrize("actions", [ACTIONS, HOLED])
def test_stream_gives_the_numbers_of_the_recording_bit_for_bit(
    home: Home, pick_run: Run, tmp_path: Path, actions: np.ndarray
):
    columns = {"pixels": np.concatenate([PIXELS, PIXELS[::-1]]), "action": np.concatenate([actions, ACTIONS])}
    path = write_recording(tmp_path / "x.h5", [FRAMES, FRAMES], columns=columns)
    first, second = stored(home, path)
    surprise = lewm_cli.Surprise(PICK)
    assert streamed(surprise, PIXELS, actions) == first
    surprise.reset()
    assert streamed(surprise, PIXELS[::-1], ACTIONS) == second
    assert [place for place, value in enumerate(first) if value is None] == ([2, 3, 4] if actions is HOLED else [])
    assert "threshold None" in repr(surprise)


def test_every_frame_is_embedded_once_and_only_the_history_is_kept(pick_run: Run):
    surprise, seen = lewm_cli.Surprise(pick_run), []
    pick_run.model.encoder.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    for _ in range(3):
        surprise.reset()
        streamed(surprise, PIXELS, ACTIONS)
    assert seen == [1] * (3 * (1 + (FRAMES - 1) // SKIP))
    kept = [value for value in vars(surprise).values() if isinstance(value, deque)]
    assert [len(one) for one in kept] == [HISTORY, HISTORY]


def alarm_of(home: Home, run: Run, path: Path, threshold: float) -> None:
    rate = Rate.of(np.array([False, True]), np.array([0, 1]))
    found = {"false_alarms": 0.1, "frameskip": SKIP, "seed": 0, "calibrated": (0,), "tried": (1,), "measured": rate}
    ranges = np.zeros(3, np.uint8), np.full(3, 255, np.uint8)
    found["frames"] = FrameAlarm.of(1, *ranges, threshold=0.0, measured=rate)
    dataset = open_dataset(path, "x")
    alarm = Alarm.of(run, dataset, held_out=True, begun=0.0, threshold=threshold, with_event=rate, **found)
    keep_result(home, run, "alarm", alarm)


def test_steps_above_the_threshold_of_the_newest_alarm_are_events(
    home: Home, pick_run: Run, tmp_path: Path, pipe: Callable[..., Done]
):
    path = write_recording(tmp_path / "x.h5", [FRAMES], columns={"pixels": PIXELS, "action": HOLED})
    (curve,) = stored(home, path)
    threshold = sorted(value for value in curve if value is not None)[1]
    alarm_of(home, pick_run, path, 0.0)
    alarm_of(home, pick_run, path, threshold)
    above = [None if value is None else value > threshold for value in curve]
    surprise = lewm_cli.Surprise(lewm_cli.load(PICK))
    found = [surprise.update(PIXELS[0])]
    found += [surprise.update(PIXELS[row], HOLED[row - SKIP : row]) for row in range(SKIP, FRAMES, SKIP)]
    assert [one.event for one in found] == [None, *above]
    assert {one.threshold for one in found} == {threshold}
    done = pipe(PIXELS.tobytes(), HOLED)
    assert [one["event"] for one in steps(done)] == above
    events = sum(bool(now) and not before for now, before in zip(above, [None, *above], strict=False))
    assert re.search(rf"; {events} events? above", done.err)
    assert (done.code, pipe(PIXELS.tobytes(), HOLED, "--fail-on-event").code) == (0, 3)


@pytest.mark.parametrize("moves", [0, 4])
def test_loop_of_the_page_watches_a_robot(home: Home, pick_run: Run, tmp_path: Path, moves: int):
    path = write_recording(tmp_path / "x.h5", [FRAMES], columns={"pixels": PIXELS, "action": ACTIONS})
    (curve,) = stored(home, path)
    alarm_of(home, pick_run, path, max(curve[:3]))
    (loop,) = (block for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S) if "Surprise" in block)
    frames, actions = iter(PIXELS[::SKIP]), iter(ACTIONS)
    moving, stopped = iter([True] * moves + [False]), []
    robot = SimpleNamespace(
        step=lambda action: action, is_moving=lambda: next(moving), stop=lambda: stopped.append(True)
    )
    told = {"camera": SimpleNamespace(read=lambda: next(frames)), "robot": robot}
    exec(loop.replace("robot/lewm", pick_run.name), told | {"driver": SimpleNamespace(act=lambda: next(actions))})
    assert len(stopped) == sum(value > max(curve[:3]) for value in curve[:moves])
    assert len(list(frames)) == len(PIXELS[::SKIP]) - 1 - moves


# What `update` refuses


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (PIXELS[0].astype(np.uint16), "uint16 of shape (48, 48, 3); give an RGB frame"),
        (PIXELS[0] / 255, "float64 of shape (48, 48, 3)"),
        (np.zeros((48, 48, 4), np.uint8), "uint8 of shape (48, 48, 4)"),
        (PIXELS[0, :, :, 0], "uint8 of shape (48, 48); give an RGB frame as a NumPy array (size, size, 3) of uint8"),
        (None, "NoneType; give an RGB frame"),
        (PIXELS[0, :40], "48 x 40 pixels, and frames are square; crop it as the frames of the recording were, for "
         "example to 40 x 40 (with ffmpeg: -vf crop=40:40,format=rgb24)"),
    ],
)  # fmt: skip
def test_frame_of_another_kind(pick_run: Run, frame: object, said: str):
    refused_and_unchanged(pick_run, frame, ACTIONS[:SKIP], f"the frame is {said}")


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        (None, "the actions are missing; they are those taken since the frame before"),
        (ACTIONS[0], "the actions are of shape (7,), not (2, 7)"),
        (ACTIONS[:3], "the actions are of shape (3, 7), not (2, 7)"),
        (ACTIONS[:SKIP, :6], "the actions are of shape (2, 6), not (2, 7)"),
        ([[1.0] * 7, [2.0] * 6], "the actions cannot be read as numbers"),
        ([["left"] * 7] * 2, "the actions cannot be read as numbers"),
        (np.full((2, 7), 1e300), "the actions hold an infinite number; give NaN for one that is not known"),
    ],
)
def test_actions_of_another_kind(pick_run: Run, actions: object, said: str):
    refused_and_unchanged(pick_run, PIXELS[SKIP], actions, said)


def refused_and_unchanged(run: Run, frame: object, actions: object, said: str) -> None:
    surprise, other = lewm_cli.Surprise(run), lewm_cli.Surprise(run)
    surprise.update(PIXELS[0])
    with pytest.raises(LewmError, match=re.escape(said)) as refused:
        surprise.update(frame, actions)
    assert "\n" not in str(refused.value)
    other.update(PIXELS[0])
    assert surprise.update(PIXELS[1], ACTIONS[:SKIP]) == other.update(PIXELS[1], ACTIONS[:SKIP])


def test_first_frame_has_no_actions_before_it(pick_run: Run):
    surprise = lewm_cli.Surprise(pick_run)
    for _ in range(2):
        with pytest.raises(LewmError, match="the first frame of an episode has no actions before it"):
            surprise.update(PIXELS[0], ACTIONS[:SKIP])
        assert surprise.update(PIXELS[0]).step == 0
        surprise.reset()


# Frames on stdin


@pytest.fixture
def pipe(home: Home, pick_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Pipes raw frames and a table of actions into the command."""

    def pipe(frames: bytes, actions: np.ndarray, *options: object, size: str = f"{SIDE}x{SIDE}") -> Done:
        table = tmp_path / "actions.csv"
        np.savetxt(table, actions, delimiter=",")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(frames)))
        line = ("surprise", "-", "--size", size, "--actions", table, "--run", PICK, *options)
        return lewm_here(home.write, *line)

    return pipe


@pytest.mark.parametrize("place", ["table", "named pipe"])
def test_frames_piped_by_ffmpeg_give_the_numbers_of_their_video(
    home: Home, pick_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    clip, table = tmp_path / "clip.mp4", tmp_path / "actions.csv"
    imageio.imwrite(clip, np.stack([cv2.resize(frame, (320, 256)) for frame in PIXELS]), fps=30)
    np.savetxt(table, HOLED, delimiter=",")
    (expected,) = stored(home, clip, "--actions", table)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", clip, "-f", "rawvideo"]
    writer = None
    if place == "named pipe":
        content, table = table, tmp_path / "pipe"
        os.mkfifo(table)
        writer = subprocess.Popen(["dd", f"if={content}", f"of={table}", "status=none"])
    with subprocess.Popen([*command, *COLORS, "-pix_fmt", "rgb24", "-"], stdout=subprocess.PIPE) as ffmpeg:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(ffmpeg.stdout))
        done = lewm_here(home.write, "surprise", "-", "--size", "320x256", "--actions", table, "--run", PICK)
    if writer:
        writer.wait()
    assert numbers(done) == expected
    assert [(one["step"], one["row"]) for one in steps(done)] == [(step, SKIP * step) for step in range(1, 7)]
    assert {(one["threshold"], one["event"]) for one in steps(done)} == {(None, None)}
    assert "frames: 320 x 256, of which the square in the middle is taken" in done.err
    assert re.search(r"^13 frames, 6 steps; highest surprise \S+ at row \d+$", done.err, re.MULTILINE)
    assert len(list(home.write.rglob("surprise-*.json"))) == 1  # of the video: a stream stores nothing


@pytest.mark.parametrize(
    ("frames", "actions", "code", "lines", "said"),
    [
        (FRAMES, FRAMES, 0, 6, "13 frames, 6 steps"),
        (FRAMES, FRAMES - 1, 0, 6, "13 frames, 6 steps"),
        (FRAMES - 1, FRAMES, 0, 5, "note: 1 of 13 actions are left over"),
        (FRAMES, 6, 1, 3, "lewm: frame 8 came, and only 6 actions: as many are needed, or one fewer"),
        (2, 2, 1, 0, "lewm: the stream ended after 2 frames, but one step of robot/pick needs 3, and the 2 actions"),
        (0, 2, 1, 0, "lewm: the stream ended after 0 frames, but one step"),
        (7.5, FRAMES, 1, 3, "lewm: the frames end with 3,456 bytes of one that has 6,912 at 48x48: the stream broke"),
    ],
)
def test_stream_that_ends(pipe: Callable[..., Done], frames: float, actions: int, code: int, lines: int, said: str):
    done = pipe(PIXELS.tobytes()[: int(frames * PIXELS[0].nbytes)], ACTIONS[:actions])
    assert done.code == code
    assert said in done.err
    assert (len(steps(done)), done.err.count("lewm: ")) == (lines, code)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": "48"}, "'48' is no size in pixels: add --size WxH, like --size 640x480"),
        ({"size": "0x48"}, "'0x48' is no size"),
        ({"more": ("--perturb", "color")}, "--perturb is for recordings; leave it out where frames come one by one"),
        ({"more": ("--false-alarms", "1%")}, "--false-alarms is for recordings"),
        ({"more": ("--fail-on-event",)}, "--fail-on-event needs a threshold, and robot/pick has none; calibrate one"),
        ({"more": ("--actions", "-")}, "stdin cannot bring both frames and actions"),
    ],
)
def test_what_cannot_be_meant(pipe: Callable[..., Done], options: dict, said: str):
    more = options.pop("more", ())
    assert said in pipe(PIXELS.tobytes(), ACTIONS, *more, **options).sentence(2)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("-", "--actions", "x.csv"), "frames that come one by one do not say which run fits: add --run RUN"),
        (("-", "--run", PICK), "surprise needs the actions taken at the frames: add --actions FILE"),
        (("-", "--run", PICK, "--actions", "x.csv"), "raw frames do not say their size: add --size WxH"),
        (("x", "--follow", "--run", PICK, "--actions", "-"), "--follow is for a folder that takes one image after"),
        (("x", "--follow", "--size", "1x1", "--run", PICK, "--actions", "-"), "--size is for raw frames on stdin"),
    ],
)
def test_what_is_missing(home: Home, pick_run: Run, line: tuple[str, ...], said: str):
    assert said in lewm_here(home.write, "surprise", *line).sentence(2)


def test_run_of_other_actions(pipe: Callable[..., Done]):
    said = pipe(PIXELS.tobytes(), ACTIONS[:, :6]).err
    assert "lewm: row 1 of the actions has 6 numbers, and robot/pick takes 7 action dimensions" in said


# A folder that grows


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Callable[[], object]]], None]:
    """Lets one thing happen whenever the command waits for the next image."""

    def world(happening: list[Callable[[], object]]) -> None:
        left = iter(happening)
        monkeypatch.setattr(frame_stream.time, "sleep", lambda seconds: next(left)())

    return world


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "frames").mkdir()
    return tmp_path / "frames"


def png(frame: np.ndarray) -> bytes:
    return imageio.imwrite("<bytes>", frame, extension=".png")


def follow(home: Home, folder: Path, monkeypatch: pytest.MonkeyPatch, lines: str = "") -> Done:
    lines = lines or "\n".join(json.dumps(row) for row in ACTIONS.tolist())
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    return lewm_here(home.write, "surprise", folder, "--follow", "--actions", "-", "--run", PICK)


def test_images_are_measured_once_they_are_whole(
    home: Home, pick_run: Run, folder: Path, tmp_path: Path, world: Callable, monkeypatch: pytest.MonkeyPatch
):
    files = [(folder / f"frame{number}.png", png(frame)) for number, frame in enumerate(PIXELS)]
    happening = []
    for number, (path, content) in enumerate(files):
        cuts = (0, 20, len(content) // 2, len(content)) if number % 4 == 1 else (len(content),)
        happening += [lambda path=path, part=content[:cut]: path.write_bytes(part) for cut in cuts]
    (folder / "notes.txt").write_text("about the frames")
    (folder / ".frame5.png").write_bytes(b"a copy that is not done")
    happening.insert(9, (folder / "frame0.png").unlink)  # whoever takes them may clear up
    world([*happening, (folder / "end").touch])
    done = follow(home, folder, monkeypatch)
    assert done.code == 0, done.err
    path = write_recording(tmp_path / "x.h5", [FRAMES], columns={"pixels": PIXELS, "action": ACTIONS})
    assert [numbers(done)] == stored(home, path)


@pytest.mark.parametrize(
    ("happening", "said"),
    [
        ({"frame7.png": png(PIXELS[0, :40, :40])}, "frame7.png is 40 x 40 pixels, and the images before it are 48 x"),
        ({"frame3a.png": png(PIXELS[0])}, "an image came that stands before others, which are measured already, in"),
        ({"frame7.png": png(PIXELS[0])[:99], "end": b""}, "frame7.png is damaged or cut short; write it again"),
        ({"frame7.png": b"old"}, "frame7.png is damaged or cut short"),
        (None, "cannot be read (No such file or directory): it is not there; check the path"),
    ],
)
def test_images_that_do_not_follow(
    home: Home,
    pick_run: Run,
    folder: Path,
    world: Callable,
    monkeypatch: pytest.MonkeyPatch,
    happening: dict[str, bytes] | None,
    said: str,
):
    for number in range(7):
        (folder / f"frame{number}.png").write_bytes(png(PIXELS[number]))

    def happen() -> None:
        if happening is None:
            folder.rename(folder.with_name("gone"))
        for name, content in (happening or {}).items():
            (folder / name).write_bytes(content)
            if content == b"old":
                os.utime(folder / name, (0, 0))

    world([happen])
    done = follow(home, folder, monkeypatch)
    assert (done.code, len(steps(done)), done.err.count("lewm: ")) == (1, 3, 1)
    assert said in done.err.splitlines()[-1]
    assert "7 frames, 3 steps; highest surprise" in done.err


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("1,2,3,4,5,6,7\n1,2,3,4,5,6,left\n", "line 2 of stdin holds '1,2,3,4,5,6,left', and actions are one row"),
        ("[1, 2", "line 1 of stdin does not hold rows of numbers"),
        ("[1, 2]", "row 1 of the actions has 2 numbers, and robot/pick takes 7 action dimensions"),
        ("[1, 2, 3, 4, 5, 6, 7]\n", "frame 3 came, and only 1 actions"),
    ],
)
def test_lines_that_are_no_actions(
    home: Home, pick_run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, lines: str, said: str
):
    for number in range(7):
        (folder / f"frame{number}.png").write_bytes(png(PIXELS[number]))
    done = follow(home, folder, monkeypatch, lines)
    assert (done.code, done.out) == (1, "")
    assert said in done.err.splitlines()[-1]


@pytest.mark.slow
def test_stream_that_is_interrupted_keeps_what_it_printed(home: Home, pick_run: Run, folder: Path, tmp_path: Path):
    for number in range(2 * SKIP + 1):
        (folder / f"{number}.png").write_bytes(png(PIXELS[number]))
    np.save(tmp_path / "a.npy", ACTIONS)
    line = ("surprise", folder, "--follow", "--actions", tmp_path / "a.npy", "--run", PICK)
    with running(home.write, *line) as process:
        first = [json.loads(process.stdout.readline())["row"] for _ in range(2)]
        process.send_signal(signal.SIGINT)
        done = ended(process)
    assert first == [SKIP, 2 * SKIP]
    assert done.code == 130
    assert "5 frames, 2 steps; highest surprise" in done.err
    assert done.err.splitlines()[-1].startswith("lewm: interrupted")
