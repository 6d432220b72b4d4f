"""`lewm plan`: actions between two images, what the model imagines of them, and which images can be used."""

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from commands import LEWM, Done, environment, flat, left_behind, lewm_here
from lewm_cli import AutoCostModel
from lewm_cli.control import ImaginedPlan
from lewm_cli.data import read_actions, read_image
from lewm_cli.errors import LewmError
from lewm_cli.store import Home, Run, RunFiles, save_run
from places import PICK, QUICK, RUN, SETTINGS

pytest_plugins = ("untrained",)

Images = tuple[Path, Path]
Plan = Callable[..., Done]


@pytest.fixture
def plan(home: Home, tworoom_run: Run, images: Images) -> Plan:
    """Plan with the run of TwoRoom between its two images; what is given comes on top."""

    def run(*arguments: object, start: object = images[0], goal: object = images[1], name: str = RUN) -> Done:
        return lewm_here(home.write, "plan", name, "--start", start, "--goal", goal, *SETTINGS, *arguments)

    return run


def planned(done: Done) -> ImaginedPlan:
    assert done.code == 0, done.err
    return ImaginedPlan.model_validate(done.json())


def normalized_blocks(run: Run, actions: np.ndarray) -> torch.Tensor:
    """Environment actions as the model takes them, computed by hand: (1, 1, T, block_dim)."""
    stats = run.card.inputs.actions
    scaled = (actions - np.array(stats.mean)) / np.array(stats.std)
    return torch.tensor(scaled.reshape(1, 1, -1, run.card.inputs.block_dim), dtype=torch.float32)


# What is planned


def test_costs_are_what_the_model_imagines_of_the_actions(
    plan: Plan, tworoom_run: Run, frames: tuple[np.ndarray, np.ndarray]
):
    result = planned(plan("--json"))
    actions = np.array(result.actions)
    assert actions.shape == (25, 2)
    model = AutoCostModel(RUN)  # stable_worldmodel's contract: another way to the same numbers
    start, goal = (tworoom_run.prepare(frame[None])[:, None, None] for frame in frames)
    for steps in range(1, 6):
        for acted, cost in ((actions, result.costs), (np.zeros((25, 2)), result.zero_action_costs)):
            blocks = normalized_blocks(tworoom_run, acted[: steps * 5])
            expected = model.get_cost({"pixels": start, "goal": goal}, blocks)
            assert cost[steps - 1] == pytest.approx(expected.item(), rel=1e-3)
    latents = tworoom_run.embed(np.stack(frames))
    assert result.standing_still == pytest.approx((latents[0] - latents[1]).square().sum().item(), rel=1e-4)
    assert len(result.costs) == len(result.zero_action_costs) == 5


def test_planning_longer_finds_cheaper_plans(plan: Plan):
    short, long = (planned(plan("--json", "--set", f"planner.iterations={count}")) for count in (1, 20))
    assert long.costs[-1] < short.costs[-1]


def test_result_says_where_it_comes_from(plan: Plan, tworoom_run: Run, images: Images):
    result = planned(plan("--json", "--seed", 5, "--set", "planner.horizon=2"))
    assert (result.run, result.weights_sha256, result.task) == (RUN, tworoom_run.sha256, "tworoom")
    assert (result.start, result.goal) == tuple(map(str, images))
    assert (result.seed, result.frameskip, result.device) == (5, 5, "cpu")
    assert result.planner.model_dump().items() >= {**QUICK, "horizon": 2, "receding": 2}.items()
    assert (len(result.actions), len(result.costs)) == (10, 2)
    assert result.versions["torch"] == version("torch")
    assert "plan" in result.command


@pytest.mark.slow
def test_seed_decides(plan: Plan):
    first, again, other = (np.array(planned(plan("--json", "--seed", seed)).actions) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.slow
def test_another_width_of_actions_needs_no_simulator(plan: Plan, pick_run: Run):
    result = planned(plan("--json", name=PICK))
    assert result.task == "generic"
    assert np.array(result.actions).shape == (5 * 2, 7)
    done = plan(name=PICK)
    rows = re.findall(r"^ +(\d+) ((?: +-?\d+\.\d{4}){7})$", done.out, re.MULTILINE)
    assert [int(step) for step, _ in rows] == list(range(10))
    np.testing.assert_allclose([list(map(float, row.split())) for _, row in rows], result.actions, atol=1e-4)


def test_table_puts_standing_still_beside_the_plan(plan: Plan, images: Images):
    result, done = planned(plan("--json")), plan()
    assert done.code == 0, done.err
    rows = re.findall(r"^ +(\d+) +(\d+) +([\d.e+]+) +([\d.e+]+)$", done.out, re.MULTILINE)
    assert [(int(step), int(environment)) for step, environment, *_ in rows] == [(k, 5 * k) for k in range(6)]
    expected = [result.standing_still, *result.costs], [result.standing_still, *result.zero_action_costs]
    np.testing.assert_allclose([[float(row[2]) for row in rows], [float(row[3]) for row in rows]], expected, rtol=1e-3)
    assert f"{RUN}: from {images[0]} to {images[1]}" in done.out
    assert f"the {result.distance} to the goal" in flat(done.out)
    assert ("of standing still" in flat(done.out)) == (result.costs[-1] < result.standing_still)
    assert "NO NEARER than standing still" in flat(plan(goal=images[0]).out)  # it is there already
    assert max(map(len, done.out.splitlines()[1:])) <= 81
    assert "planning: cem, 2 iterations of 16 candidates on cpu" in done.err


@pytest.mark.slow
def test_result_can_be_piped_without_a_terminal(home: Home, tworoom_run: Run, images: Images):
    with subprocess.Popen(
        [LEWM, "plan", RUN, "--start", images[0], "--goal", images[1], *SETTINGS, "--json", "-q"],
        env=environment(home.write),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as wrote:
        read = subprocess.run([sys.executable, "-m", "json.tool"], stdin=wrote.stdout, capture_output=True, check=True)
        assert wrote.stderr.read() == b""
    assert len(ImaginedPlan.model_validate_json(read.stdout).actions) == 25


# Where it is saved


@pytest.mark.slow
def test_files_hold_what_is_printed(plan: Plan, tmp_path: Path):
    files = [tmp_path / "new" / f"plan{suffix}" for suffix in (".json", ".csv", ".npy")]
    for file in files:
        done = plan("--output", file)
        assert done.code == 0, done.err
        assert done.err.splitlines()[-1] == f"saved: {file}"
        assert "model step" in done.out
    as_json, as_csv, as_npy = files
    result = ImaginedPlan.model_validate_json(as_json.read_text(encoding="utf-8"))
    expected = np.array(result.actions, np.float32)
    assert result.actions == planned(plan("--json")).actions
    loaded = np.load(as_npy)
    assert (loaded.shape, loaded.dtype) == ((25, 2), np.float32)
    assert np.array_equal(loaded, expected)
    heading, *rows = csv.reader(io.StringIO(as_csv.read_text(encoding="utf-8")))
    assert heading == ["step", "action_0", "action_1"]
    assert [int(row[0]) for row in rows] == list(range(25))
    assert np.array_equal(np.array([row[1:] for row in rows], np.float32), expected)
    assert left_behind(tmp_path) == []


def test_actions_have_the_names_of_the_recording(plan: Plan, home: Home, pick_run: Run, tmp_path: Path):
    names = ("x", "y", "shoulder, left", *"abcd")
    inputs = pick_run.card.inputs.model_copy(update={"action_names": names})
    card = pick_run.card.model_copy(update={"inputs": inputs})
    save_run(RunFiles(home.run_stem(PICK)), pick_run.model, card)
    done = plan("--output", tmp_path / "plan.csv", name=PICK)
    assert done.code == 0, done.err
    assert re.search(r"^ +x +y +shoulder, +a +b +c +d *$\n^ *step +left *$", done.out, re.MULTILINE)
    with (tmp_path / "plan.csv").open(encoding="utf-8", newline="") as file:
        heading, *rows = csv.reader(file)
    assert heading == ["step", *names]
    # What is saved can be read again as the actions of a video.
    again = read_actions(tmp_path / "plan.csv", lambda message: None)
    assert np.array_equal(again, np.array([row[1:] for row in rows], np.float32))


def test_file_that_cannot_be_written_is_refused(plan: Plan, tmp_path: Path, images: Images):
    assert "does not end in .json, .csv or .npy" in plan("--output", tmp_path / "plan.txt").sentence(2)
    # Before the images are looked at.
    assert "does not end in" in plan("--output", "plan", goal="nothing.png").sentence(2)
    assert "cannot be written" in plan("--output", images[0] / "plan.csv").sentence()


# What is refused


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--set", "planner.elite=3"], 2, "planner.elites"),
        (["--set", "planner.elites=99"], 2, "elites 99 is more than candidates 16"),
        (["--set", "budget=3"], 2, "unknown setting 'budget'"),
        (["--set", "planner.receding=1"], 2, "planner.receding is about planning anew"),
        (["--set", "planner.warm_start=true"], 2, "planner.warm_start is about planning anew"),
        (["--receding", 1], 2, "--receding"),
        (["--device", "abacus"], 2, "abacus"),
        (["--seed", -1], 2, "--seed"),
        (["--seed", 2**63], 2, "--seed"),
        (["--stats-from", "tworoom/demos"], 2, "carries its own statistics"),
        (["--config", "config.json"], 2, "carries its own sizes"),
    ],
)
def test_settings_without_meaning_are_refused(plan: Plan, arguments: list, code: int, said: str):
    assert said in plan(*arguments).sentence(code)


def test_runs_that_are_not_there_are_refused(plan: Plan):
    assert f"did you mean '{RUN}'" in plan(name="tworoom/lewn").sentence()


def test_both_images_are_needed(home: Home):
    assert "--goal" in lewm_here(home.write, "plan", RUN, "--start", "x.png").sentence(2)
    assert "--start" in lewm_here(home.write, "plan", RUN, "--goal", "x.png").sentence(2)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "there is no image"),
        (lambda path: path.mkdir(), "cannot be read (Is a directory): it is a folder; name a file"),
        (lambda path: path.write_bytes(b""), "cannot be read as an image; name a PNG or JPEG file"),
        (lambda path: path.write_text("goal"), "cannot be read as an image; name a PNG or JPEG file"),
        (
            lambda path: imageio.imwrite(path, np.zeros((48, 64, 3), np.uint8)),
            "is 64 x 48 pixels, and frames are square; crop it as the frames of the recording were, "
            "for example to 48 x 48",
        ),
        (lambda path: imageio.imwrite(path, np.zeros((64, 64), np.uint16)), "more than 8 bits per channel"),
    ],
)
def test_images_that_are_no_frames_are_refused(
    plan: Plan, images: Images, tmp_path: Path, make: Callable[[Path], object], said: str
):
    path = tmp_path / "wrong.png"
    make(path)
    for given_images in ({"start": path}, {"goal": path}):
        sentence = plan(**given_images).sentence()
        assert str(path) in sentence
        assert said in sentence


def test_cut_image_is_refused(plan: Plan, images: Images, tmp_path: Path):
    cut = tmp_path / "cut.png"
    cut.write_bytes(images[1].read_bytes()[:-200])
    assert "cannot be read as an image" in plan(goal=cut).sentence()


# Images


def test_kinds_of_images_give_the_frame(frames: tuple[np.ndarray, np.ndarray], tmp_path: Path):
    frame, gray = frames[1], frames[1][:, :, 0]
    opaque = np.full_like(gray, 255)
    kinds = {
        "rgb.png": (frame, frame),
        "rgb.bmp": (frame, frame),
        "rgba.png": (np.dstack([frame, opaque]), frame),
        "gray.png": (gray, np.dstack([gray] * 3)),
        "gray-alpha.png": (np.dstack([gray, opaque]), np.dstack([gray] * 3)),
        "film.gif": (np.stack([np.dstack([gray] * 3), np.zeros_like(frame)]), np.dstack([gray] * 3)),
    }
    for name, (written, expected) in kinds.items():
        imageio.imwrite(tmp_path / name, written)
        image = read_image(tmp_path / name)
        assert image.name == str(tmp_path / name)
        assert image.frame.dtype == np.uint8
        assert np.array_equal(image.frame, expected), name
    imageio.imwrite(tmp_path / "rgb.jpg", frame, quality=95)
    assert np.abs(read_image(tmp_path / "rgb.jpg").frame.astype(int) - frame).mean() < 1


def test_photo_is_turned_as_its_camera_says(frames: tuple[np.ndarray, np.ndarray], tmp_path: Path):
    orientation, turned_right = bytes.fromhex("45786966000049492a000800000001001201030001000000060000000000000000"), -1
    imageio.imwrite(tmp_path / "photo.jpg", frames[1], exif=orientation, quality=95)
    expected = np.rot90(frames[1], turned_right).astype(int)
    assert np.abs(read_image(tmp_path / "photo.jpg").frame - expected).mean() < 1


def test_larger_images_are_averaged_down(plan: Plan, frames: tuple[np.ndarray, np.ndarray], tmp_path: Path):
    expected = np.array(planned(plan("--json")).actions)
    large = tmp_path / "large.png"
    imageio.imwrite(large, frames[1].repeat(3, axis=0).repeat(3, axis=1))
    np.testing.assert_allclose(np.array(planned(plan("--json", goal=large)).actions), expected, atol=1e-2)
    imageio.imwrite(tmp_path / "small.png", frames[1][::8, ::8])
    assert planned(plan("--json", goal=tmp_path / "small.png")).standing_still > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(data=st.data(), suffix=st.sampled_from([".png", ".bmp", ".gif", ".webp", ".tif"]))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_every_image_is_a_frame_or_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, suffix: str
):
    height, width = (data.draw(st.integers(1, 6)) for _ in range(2))
    pixels = data.draw(arrays(np.uint8, (height, width, 3)))
    path = tmp_path_factory.mktemp("image") / f"x{suffix}"
    imageio.imwrite(path, pixels)
    content = bytearray(path.read_bytes())
    if height == width:
        assert read_image(path).frame.shape == (height, width, 3)
        if suffix in (".png", ".bmp", ".tif"):
            assert np.array_equal(read_image(path).frame, pixels)
    else:
        with pytest.raises(LewmError, match=f"is {width} x {height} pixels"):
            read_image(path)
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)))):
        content[place] = value
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        frame, said = read_image(path).frame, ""
    except LewmError as error:
        frame, said = np.zeros((1, 1, 3)), str(error)
    assert frame.shape == (len(frame), len(frame), 3)
    assert "\n" not in said


def test_plan_is_plain_json(plan: Plan):
    tree = json.loads(plan("--json").out)
    assert set(tree) == set(ImaginedPlan.model_fields)
