"""`lewm eval --goal-image`: the real simulator driven from a reset towards an image, and nothing counted."""

import re
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from commands import Done, flat, lewm_here
from lewm_cli.config import PlannerConfig
from lewm_cli.control import Policy
from lewm_cli.evaluate import GoalImageResult
from lewm_cli.store import Home, Run
from lewm_cli.tasks.tworoom.simulator import TwoRoomSimulator
from places import PICK, QUICK, RUN, SETTINGS

pytest_plugins = ("untrained",)

Images = tuple[Path, Path]
Drive = Callable[..., Done]


@pytest.fixture
def drive(home: Home, tworoom_run: Run, images: Images) -> Drive:
    """Drive the run of TwoRoom towards the goal image for a few steps; what is given comes on top."""

    def run(*arguments: object, goal: object = images[1], name: str = RUN) -> Done:
        return lewm_here(home.write, "eval", name, "--goal-image", goal, *SETTINGS, "--set", "budget=12", *arguments)

    return run


def driven(done: Done) -> GoalImageResult:
    assert done.code == 0, done.err
    return GoalImageResult.model_validate(done.json())


@pytest.mark.slow
def test_distances_are_those_of_the_policy(
    drive: Drive, tworoom_run: Run, tworoom: TwoRoomSimulator, frames: tuple[np.ndarray, np.ndarray]
):
    arguments = ["--start-seed", 3, "--seed", 9, "--set", "planner.receding=1", "--json"]
    result = driven(drive(*arguments))
    policy = Policy(tworoom_run, frames[1], planner=PlannerConfig(**QUICK, receding=1), seed=9)
    tworoom.reset(np.random.SeedSequence(3))
    distances = [policy.distance(tworoom.frame())]
    for _ in range(12):
        tworoom.step(policy.act(tworoom.frame()))
        distances.append(policy.distance(tworoom.frame()))
    assert result.distances == pytest.approx(distances, rel=1e-3)
    assert (result.plans, result.nearest) == (3, int(np.argmin(distances)))
    assert driven(drive(*arguments)).distances == result.distances


@pytest.mark.slow
def test_start_seed_decides_where_from_and_seed_how(drive: Drive):
    one, other_start, other_plan = (
        driven(drive("--json", *arguments)).distances
        for arguments in ([], ["--start-seed", 1], ["--start-seed", 0, "--seed", 1])
    )
    assert one[0] != other_start[0]
    assert one[0] == other_plan[0]
    assert one[1:] != other_plan[1:]


def test_result_says_where_it_comes_from_and_is_not_stored(drive: Drive, home: Home, tworoom_run: Run, images: Images):
    result = driven(drive("--start-seed", 4, "--json"))
    assert (result.run, result.weights_sha256, result.task) == (RUN, tworoom_run.sha256, "tworoom")
    assert (result.goal, result.start_seed, result.frameskip) == (str(images[1]), 4, 5)
    assert (result.protocol.budget, result.protocol.seed) == (12, 42)
    assert "success" not in " ".join(GoalImageResult.model_fields)
    assert not tworoom_run.files.results.exists()


def test_table_shows_distances_and_says_why_there_is_no_rate(drive: Drive):
    result, done = driven(drive("--json")), drive()
    assert done.code == 0, done.err
    rows = re.findall(r"^ +(\d+) +([\d.e+-]+) +[\d.]+%$", done.out, re.MULTILINE)
    assert [int(step) for step, _ in rows] == [0, 5, 10, 12]
    expected = [result.distances[int(step)] for step, _ in rows]
    assert [float(distance) for _, distance in rows] == pytest.approx(expected, rel=1e-3)
    assert "No success rate: nobody knows the state that the image shows" in flat(done.out)
    assert f"after {result.nearest} steps" in flat(done.out)
    assert result.distance == "squared latent distance"  # DINO-WM has another
    assert "Distance: squared latent distance." in done.out
    assert "driving: 12/12 steps" in done.err
    assert "stored" not in done.err


@pytest.mark.slow
def test_long_drives_are_shown_in_few_rows(drive: Drive):
    done = drive("--set", "budget=203")
    rows = re.findall(r"^ +(\d+) +[\d.e+-]+ +[\d.]+%$", done.out, re.MULTILINE)
    assert [int(step) for step in rows] == [*range(0, 203, 25), 203]


def test_goal_that_is_the_start_has_distance_zero(drive: Drive, tworoom: TwoRoomSimulator, tmp_path: Path):
    tworoom.reset(np.random.SeedSequence(5))
    imageio.imwrite(tmp_path / "here.png", tworoom.frame())
    arguments = ["--start-seed", 5, "--set", "budget=2"]
    assert driven(drive(*arguments, "--json", goal=tmp_path / "here.png")).distances[0] == 0
    assert drive(*arguments, goal=tmp_path / "here.png").code == 0


@pytest.mark.slow
def test_video_shows_the_way_beside_the_goal(
    drive: Drive, tworoom: TwoRoomSimulator, frames: tuple[np.ndarray, np.ndarray], tmp_path: Path
):
    large = tmp_path / "large.png"
    imageio.imwrite(large, frames[1].repeat(2, axis=0).repeat(2, axis=1))
    done = drive("--start-seed", 7, "--video", tmp_path / "videos", goal=large)
    assert done.code == 0, done.err
    assert done.err.splitlines()[-1] == f"videos: {tmp_path / 'videos'}"
    (video,) = (tmp_path / "videos").iterdir()
    assert video.name == "start-007.mp4"
    seen = imageio.imread(video, plugin="FFMPEG").astype(int)
    assert seen.shape == (12 + 1 + 10, 224, 224 + 8 + 224, 3)
    tworoom.reset(np.random.SeedSequence(7))
    assert np.abs(seen[0, :, :224] - tworoom.frame()).mean() < 4
    assert np.abs(seen[0, :, 232:] - frames[1]).mean() < 4
    assert np.abs(seen[-1, :, 232:] - frames[1]).mean() < 4


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--episodes", 3], 2, "--episodes does not go with --goal-image"),
        (["--dataset", "tworoom/test"], 2, "--dataset does not go with --goal-image"),
        (["--record", 4], 2, "--record does not go with --goal-image"),
        (["--set", "pairs=3"], 2, "unknown setting 'pairs'"),
        (["--set", "offset=3"], 2, "unknown setting 'offset'"),
        (["--set", "planner.elites=99"], 2, "elites 99"),
        (["--start-seed", -1], 2, "--start-seed"),
        (["--device", "abacus"], 2, "abacus"),
    ],
)
def test_what_has_no_meaning_is_refused(drive: Drive, arguments: list, code: int, said: str):
    assert said in drive(*arguments).sentence(code)


def test_wrong_images_and_runs_are_refused(drive: Drive, pick_run: Run, tmp_path: Path):
    wide = tmp_path / "wide.png"
    imageio.imwrite(wide, np.zeros((48, 64, 3), np.uint8))
    assert "there is no image" in drive(goal=tmp_path / "nothing.png").sentence()
    assert "is 64 x 48 pixels" in drive(goal=wide).sentence()
    assert f"did you mean '{RUN}'" in drive(name="tworoom/lewn").sentence()
    refused = drive(name=PICK).sentence()
    assert "without a simulator (generic)" in refused
    assert f"lewm plan {PICK} --start IMG --goal IMG" in refused


def test_start_seed_alone_is_refused(home: Home):
    assert "--goal-image FILE" in lewm_here(home.write, "eval", RUN, "--start-seed", 3).sentence(2)
