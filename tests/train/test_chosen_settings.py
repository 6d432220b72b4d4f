"""What `lewm train` chooses for a recording without a simulator, and what it says of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from commands import flat, lewm_here
from lewm_cli.config import ActionBounds, Framing, parse_setting
from lewm_cli.data import Imported, open_dataset, split_clips
from lewm_cli.flows.training_job import Job, new_job
from lewm_cli.flows.training_request import TrainingRequest
from lewm_cli.store import Home, RunFiles, read_card
from lewm_cli.train import choose_settings, find_preset
from synthetic import write_recording

pytest_plugins = ("recordings",)


@pytest.mark.parametrize(
    ("fps", "rows", "frameskip", "history"),
    [
        (None, 100, 5, 3),
        (10, 100, 5, 3),  # as TwoRoom and PushT
        (20, 100, 5, 3),
        (30, 100, 6, 3),
        (50, 100, 10, 3),
        (60, 100, 12, 3),
        (5, 100, 2, 3),
        (0.5, 100, 1, 3),  # a row lasts longer than any model step should
        (30, 24, 6, 3),
        (30, 23, 6, 2),  # the history gives way first,
        (30, 18, 6, 2),
        (30, 17, 5, 2),  # then half of the frameskip,
        (30, 9, 3, 2),
        (30, 8, 4, 1),  # then all of the history,
        (30, 3, 1, 1),  # and whatever fits
        (30, 1, 1, 1),
    ],
)
def test_steps_in_time(fps: float | None, rows: int, frameskip: int, history: int):
    # Nine tenths of the episodes are longer; a tenth may be shorter than a clip.
    lengths = np.array([2, rows, *[rows + 50] * 18])
    chosen = choose_settings(lengths, fps, "cpu")
    config = chosen.base.config()
    assert (config.data.frameskip, config.model.history) == (frameskip, history)


@given(st.lists(st.integers(2, 400), min_size=1, max_size=40), st.none() | st.floats(0.1, 1000))
def test_clips_fit_into_nine_of_ten_episodes(lengths: list[int], fps: float | None):
    config = choose_settings(np.array(lengths), fps, "cpu").base.config()
    fitting = np.array(lengths) >= (config.model.history + 1) * config.data.frameskip
    assert fitting.mean() >= 0.9


@pytest.mark.parametrize(
    ("episodes", "device", "preset", "stop", "decay"),
    [
        (10, "cpu", "small", "1500 steps", None),
        (100, "cpu", "small", "10 epochs", None),
        (10_000, "cpu", "small", "6000 steps", None),
        (10_000, "mps", "small", "10 epochs", None),  # clips pass quickly there
        (100, "cuda", "small", "10 epochs", None),
        (1_000, "cuda", "release", "50000 steps", "500000 steps"),
        (10_000, "cuda", "release", "10 epochs", "100 epochs"),
    ],
)
def test_size_and_length_of_the_training(episodes: int, device: str, preset: str, stop: str, decay: str | None):
    chosen = choose_settings(np.full(episodes, 140), None, device)  # 121 clips each
    config, known = chosen.base.config(), find_preset(f"generic/{preset}").config()
    assert chosen.preset == preset
    assert (config.schedule.stop, config.schedule.decay) == (stop, decay)
    assert config.model == known.model
    assert config.optimizer == known.optimizer
    assert f"{121 * episodes:,} clips of {episodes:,} episodes" in chosen.told(config)[0]


@pytest.mark.parametrize(("clips", "batch"), [(1, 2), (11, 2), (84, 16), (255, 32), (256, 64), (5000, 64)])
def test_few_clips_make_small_batches(clips: int, batch: int):
    config = choose_settings(np.array([clips + 19]), None, "cpu").base.config()
    assert config.optimizer.batch_size == batch


@pytest.mark.parametrize(
    ("episodes", "held_out"), [(2, 1), (19, 2), (20, 5), (23, 5), (37, 5), (49, 5), (50, 5), (60, 6), (400, 40)]
)
def test_five_episodes_are_held_out_of_twenty(tmp_path: Path, episodes: int, held_out: int):
    lengths = (3, *[40] * episodes)  # the first is too short for a clip
    dataset = open_dataset(write_recording(tmp_path / "pick.h5", lengths), "robot/pick")
    data = choose_settings(dataset.lengths, None, "cpu").base.config().data
    assert len(split_clips(dataset, data, 4, seed=0).held_out_episodes) == held_out


def test_methods_keep_what_they_need():
    chosen = choose_settings(np.full(100, 140), 30, "cpu")
    policy, dino = chosen.base.config("gcbc"), chosen.base.config("dinowm")
    assert (policy.data.frameskip, policy.schedule.stop) == (1, "3000 steps")
    assert chosen.told(policy)[1].startswith("frameskip: 1, history 3")
    assert (dino.data.frameskip, dino.schedule.stop, dino.schedule.decay) == (6, "10 epochs", "never")


# What a training takes


@dataclass
class Asked:
    """The job of a request, and what was said of it."""

    job: Job
    lines: list[str]


@pytest.fixture
def ask(home: Home) -> Callable[..., Asked]:
    """Asks for a training of a recording at 30 rows per second."""
    write_recording(home.write / "robot" / "pick.h5", [60] * 6, fps=30.0)

    def run(what: object = "robot/pick", *settings: str, **options: object) -> Asked:
        lines: list[str] = []
        request = TrainingRequest(str(what), settings=tuple(map(parse_setting, settings)), **options)
        job = new_job(home, request, torch.device("cpu"), lines.append)
        return Asked(job, [line for line in lines if line.startswith(("size", "frameskip", "preset"))])

    return run


def test_two_lines_say_what_was_chosen_and_why(ask: Callable[..., Asked]):
    asked = ask()
    assert asked.lines == [
        "size: small (222 clips of 6 episodes; release takes a GPU and 100,000 clips), batches of 32, until 1500 steps",
        "frameskip: 6 (30 rows per second: 0.2 s per model step), history 3; --preset or --set chooses others",
    ]
    assert asked.job.config.data.frameskip == 6


def test_whoever_sets_something_is_told_of_that(ask: Callable[..., Asked]):
    asked = ask("robot/pick", "data.frameskip=4", "model.history=2", "schedule.stop=70 steps")
    assert asked.lines == [
        "size: small (222 clips of 6 episodes; release takes a GPU and 100,000 clips), batches of 32, until 70 steps",
        "frameskip: 4, history 2; --preset or --set chooses others",
    ]
    assert (asked.job.config.data.frameskip, asked.job.config.model.history) == (4, 2)


def test_named_preset_is_taken_as_it_is(ask: Callable[..., Asked]):
    asked = ask(preset="small")
    assert asked.lines == []
    assert asked.job.config == find_preset("generic/small").config()


def test_recording_of_a_task_has_the_preset_of_the_task(ask: Callable[..., Asked], tmp_path: Path):
    path = write_recording(tmp_path / "x.h5", [60] * 6, dims=2, fps=30.0, task="tworoom")
    for asked in (ask(path), ask("tworoom", dataset=str(path))):
        assert asked.lines == ["preset: small (the default on cpu; --preset chooses another)"]
        assert asked.job.config == find_preset("tworoom/small").config()


@pytest.mark.slow
def test_dry_run_says_it_too(ask: Callable[..., Asked], home: Home):
    done = lewm_here(home.write, "train", "robot/pick", "--batch-size", 2, "--dry-run")
    assert done.code == 0, done.err
    expected = ask("robot/pick", "optimizer.batch_size=2").lines
    assert [line for line in done.err.splitlines() if line in expected] == expected


def test_what_starts_from_a_run_has_its_sizes_and_the_recording_its_own_facts(tiny: Path, tmp_path: Path):
    """Weights fit no other sizes; bounds, names, rate and camera are those of what is trained on now."""
    camera = Framing(width=40, height=30, size=20)
    for name, fps, scale in (("pick", 12.0, 1.0), ("place", 50.0, 3.0)):
        actions = scale * np.linspace(-1, 1, 240, dtype=np.float32).reshape(120, 2)
        path = write_recording(tmp_path / "robot" / f"{name}.h5", [40] * 3, columns={"action": actions}, fps=fps)
        imported(path, camera if name == "place" else None)
    parent = ("--config", tiny, "--steps", 1, "--set", "model.history=2", "--name", "robot/first")
    assert lewm_here(tmp_path, "train", "robot/pick", *parent).code == 0
    rest = ("--steps", 1, "--set", "optimizer.batch_size=8", "--init-from", "robot/first", "--name", "robot/second")
    done = lewm_here(tmp_path, "train", "robot/place", *rest)
    assert done.code == 0, done.err
    assert "size: that of robot/first, trained as release is, batches of 8, until 1 steps\n" in done.err
    assert "frameskip: 2 (that of robot/first), history 2;" in done.err
    assert "note: 1 whole episode held out, and `lewm eval` shows nothing on fewer than 5;" in done.err
    first, second = (read_card(RunFiles(tmp_path / "robot" / name).weights) for name in ("first", "second"))
    assert second.model == first.model
    assert second.inputs.actions == first.inputs.actions
    assert first.inputs.bounds == ActionBounds(low=(-1, -0.991631805896759), high=(0.991631805896759, 1))
    assert second.inputs.bounds.low == pytest.approx(3 * np.array(first.inputs.bounds.low))
    assert (first.inputs.fps, second.inputs.fps) == (12, 50)
    assert (first.inputs.framing, second.inputs.framing) == (None, camera)
    assert (first.inputs.action_names, second.inputs.action_names) == ((), ("x", "y"))
    shown = flat(lewm_here(tmp_path, "show", "robot/second").out)
    assert "recorded actions x -3 to 2.975, y -2.975 to 3" in shown
    assert "recorded rate 50 rows per second" in shown
    assert "camera 40 x 30, crop to 20 x 20" in shown


def imported(path: Path, framing: Framing | None) -> None:
    """Writes into a recording that a camera's frames were imported, if they were."""
    if framing is None:
        return
    facts = {"kind": "videos", "source": "videos", "sha256": "0" * 64, "files": 1, "camera": "top", "command": "lewm"}
    with h5py.File(path, "r+") as file:
        Imported(**facts, action_names=("x", "y"), framing=framing).write(file)
    assert open_dataset(path, "x").imported.framing == framing
