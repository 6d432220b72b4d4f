"""Frames as the camera of an imported recording gave them: they look to the model as the recorded rows do."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

import lewm_cli
from commands import Done, lewm_here
from lewm_cli.config import Box, Framing, PlannerConfig
from lewm_cli.control import Observation
from lewm_cli.data import square
from lewm_cli.errors import LewmError
from lewm_cli.store import Home, Run, RunFiles, load_run, save_run
from places import PICK, QUICK, SETTINGS
from synthetic import write_recording

pytest_plugins = ("untrained",)

PLANNER = PlannerConfig(**QUICK)
FRAMINGS = [
    Framing(width=120, height=80, size=56),
    Framing(width=120, height=80, size=56, fit="pad"),
    Framing(width=60, height=80, size=96, fit="squash", box=Box(left=5, top=10, width=50, height=64)),
    Framing(width=64, height=64, size=64, box=Box(left=8, top=0, width=40, height=40)),  # as large as what it becomes
]
FRAMES, SKIP, DIMS = 7, 2, 7
ACTIONS = np.random.default_rng(0).normal(size=(FRAMES, DIMS)).astype(np.float32)

CameraRun = Callable[[Framing], Run]


@pytest.fixture
def camera_run(home: Home, pick_run: Run) -> CameraRun:
    """Gives the run of the robot a recording that was made square in this way."""

    def build(framing: Framing) -> Run:
        inputs = pick_run.card.inputs.model_copy(update={"framing": framing})
        save_run(RunFiles(home.run_stem(PICK)), pick_run.model, pick_run.card.model_copy(update={"inputs": inputs}))
        return load_run(home, PICK)

    return build


def camera(framing: Framing, count: int = FRAMES) -> np.ndarray:
    """Frames of the camera, (count, height, width, 3)."""
    return np.random.default_rng(1).integers(0, 256, (count, framing.height, framing.width, 3), dtype=np.uint8)


def recorded(framing: Framing, frames: np.ndarray) -> np.ndarray:
    """What the recording has of them."""
    return np.stack([square(frame, framing) for frame in frames])


@pytest.mark.parametrize("framing", FRAMINGS, ids=str)
def test_policy_and_surprise_see_what_was_recorded(camera_run: CameraRun, tmp_path: Path, framing: Framing):
    run, (now, goal) = camera_run(framing), camera(framing, 2)
    plain = replace(
        run, card=run.card.model_copy(update={"inputs": run.card.inputs.model_copy(update={"framing": None})})
    )
    now_row, goal_row = recorded(framing, [now, goal])
    expected = lewm_cli.Policy(plain, goal_row, planner=PLANNER)
    imageio.imwrite(tmp_path / "goal.png", goal)
    for given in (goal, Observation(goal), tmp_path / "goal.png"):
        policy = lewm_cli.Policy(run, given, planner=PLANNER)
        assert policy.distance(now) == policy.distance(Observation(now)) == expected.distance(now_row) > 0
    assert np.array_equal(policy.act(now), expected.act(now_row))
    one, other = lewm_cli.Surprise(run), lewm_cli.Surprise(plain)
    assert one.update(now) == other.update(now_row)
    assert one.update(goal, ACTIONS[:SKIP]) == other.update(goal_row, ACTIONS[:SKIP])


def test_square_frames_of_another_size_are_taken_as_they_are(camera_run: CameraRun):
    run, frames = camera_run(FRAMINGS[0]), camera(Framing(width=70, height=70, size=70), 2)
    policy = lewm_cli.Policy(run, frames[1])
    latents = run.embed(frames).double()
    assert policy.distance(frames[0]) == pytest.approx(float((latents[0] - latents[1]).square().sum()), rel=1e-4)


@pytest.mark.parametrize("framing", FRAMINGS[1:3], ids=str)
def test_video_folder_and_stream_see_what_was_recorded(
    camera_run: CameraRun, home: Home, tmp_path: Path, framing: Framing, monkeypatch: pytest.MonkeyPatch
):
    camera_run(framing)
    frames, actions, folder = camera(framing), tmp_path / "actions.csv", tmp_path / "frames"
    np.savetxt(actions, ACTIONS, delimiter=",")
    columns = {"pixels": recorded(framing, frames), "action": ACTIONS}
    path = write_recording(tmp_path / "x.h5", [FRAMES], columns=columns)
    folder.mkdir()
    for number, frame in enumerate(frames):
        imageio.imwrite(folder / f"{number}.png", frame)

    def curve(*arguments: object) -> list[float]:
        done = lewm_here(home.write, "surprise", *arguments, "--run", PICK, "--json")
        assert done.code == 0, done.err
        return done.json()["episodes"][0]["curves"]["model"]

    expected = curve(path)
    assert curve(folder, "--actions", actions) == expected
    (folder / "end").touch()
    done = lewm_here(home.write, "surprise", folder, "--follow", "--actions", actions, "--run", PICK, "--json")
    assert done.code == 0, done.err
    assert [json.loads(line)["surprise"] for line in done.out.splitlines()] == expected
    assert str(framing) in done.err


def test_plan_takes_images_of_the_camera(camera_run: CameraRun, home: Home, tmp_path: Path):
    framing = FRAMINGS[0]
    camera_run(framing)
    whole, rows = camera(framing, 2), recorded(framing, camera(framing, 2))
    assert planned(home, tmp_path, *whole).json()["costs"] == planned(home, tmp_path, *rows).json()["costs"]


def planned(home: Home, folder: Path, start: np.ndarray, goal: np.ndarray) -> Done:
    for name, frame in (("start", start), ("goal", goal)):
        imageio.imwrite(folder / f"{name}.png", frame)
    images = ("--start", folder / "start.png", "--goal", folder / "goal.png")
    return lewm_here(home.write, "plan", PICK, *images, *SETTINGS, "--json")


@pytest.mark.parametrize("shape", [(80, 119), (120, 80), (40, 60)])
def test_another_camera_is_refused(camera_run: CameraRun, home: Home, tmp_path: Path, shape: tuple[int, int]):
    run, other = camera_run(FRAMINGS[0]), np.zeros((*shape, 3), np.uint8)
    said = (
        f"is {shape[1]} x {shape[0]} pixels, and the camera of the recording gave 120 x 80; set the camera to that "
        "size, or give square frames"
    )
    with pytest.raises(LewmError, match=re.escape(f"the goal {said}")):
        lewm_cli.Policy(run, other)
    policy = lewm_cli.Policy(run, camera(FRAMINGS[0])[0])
    for seen in (policy.act, policy.distance, lewm_cli.Surprise(run).update):
        with pytest.raises(LewmError, match=re.escape(f"the frame {said}")):
            seen(other)
    done = planned(home, tmp_path, other, other)
    assert (done.code, done.out) == (1, "")
    assert said in " ".join(done.err.split())
    imageio.imwrite(tmp_path / "frame.gif", np.stack([other] * 3))
    np.savetxt(tmp_path / "actions.csv", ACTIONS[:3], delimiter=",")
    done = lewm_here(
        home.write, "surprise", tmp_path / "frame.gif", "--actions", tmp_path / "actions.csv", "--run", PICK
    )
    assert done.code == 1
    assert said in " ".join(done.err.split())
