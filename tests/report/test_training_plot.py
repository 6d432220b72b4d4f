"""`lewm plot`: curves of logs, in the terminal, in a picture and as JSON."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import lewm_here
from lewm_cli.statistics import Rate
from lewm_cli.store import RunFiles
from lewm_cli.train import HeldOutLatents, HeldOutMeasured, JsonLog, StepsTaken, read_curves
from lewm_cli.train.events import SuccessMeasured, TrainingEvent, TrainingFinished, TrainingStarted

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)


def started(first_step: int) -> TrainingStarted:
    return TrainingStarted("robot/run", "cpu", 10, 100, 20, 2, first_step, 100)


def taken(step: int, loss: float = 1.5, **parts: float) -> StepsTaken:
    parts = {"prediction": loss / 2} | parts
    return StepsTaken(step, 100, loss, parts, 1e-3, 2.0, 0.01, 0.02, 640.0, 9.5, 2_000_000_000)


def measured(step: int, prediction: float = 0.25) -> HeldOutMeasured:
    return HeldOutMeasured(step, HeldOutLatents({"SIGReg": 1.0}, prediction, 1.0, 1.0, 0.9, 7.5, 0.0))


def write(home: Path, name: str, *events: TrainingEvent) -> Path:
    log = RunFiles(home / name).log
    for event in events:
        JsonLog(log)(event)
    return log


def write_at(log: Path, *entries: tuple[float, TrainingEvent]) -> Path:
    """A log whose events were written so many seconds after its begin."""
    for _, event in entries:
        JsonLog(log)(event)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line, (seconds, _) in zip(lines, entries, strict=True):
        line["time"] = (BEGIN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return log


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two runs of different methods, the second of which still trains."""
    home = tmp_path / "home"
    finished = TrainingFinished("robot/run", "generic", 20, 12.5, measured(20).held_out, "run.safetensors")
    write(
        home, "robot/lewm", started(0), taken(10, 3.0, SIGReg=4.0), measured(10), taken(20, 0.5, SIGReg=1.0), finished
    )
    write(home, "robot/delta", started(0), taken(10, 8.0, delta=1.0))
    return home


def test_chosen_curves_of_all_runs_are_printed_for_programs(home: Path):
    found = lewm_here(home, "plot", "robot/lewm", "robot/delta", "--json").json()
    assert [run["run"] for run in found["runs"]] == ["robot/lewm", "robot/delta"]
    ours, other = (run["curves"] for run in found["runs"])
    assert ours["train/SIGReg"]["steps"] == [10, 20]
    assert ours["train/SIGReg"]["values"] == [4.0, 1.0]
    assert ours["held_out/prediction"]["values"] == [0.25]
    assert set(other) == {"train/loss", "train/prediction", "train/delta"}
    assert found["plot"] == str(home / "robot" / "lewm.run" / "curves.png")


@pytest.mark.parametrize(
    ("term", "curves"),
    [
        ("prediction", {"train/prediction", "held_out/prediction"}),
        ("train/prediction", {"train/prediction"}),
        ("speed", {"speed/clips_per_second", "speed/data_ms", "speed/update_ms"}),
        ("memory", {"memory/process_gb"}),
    ],
)
def test_terms_are_curves_groups_or_names_in_all_groups(home: Path, term: str, curves: set[str]):
    (run,) = lewm_here(home, "plot", "robot/lewm", "--term", term, "--json").json()["runs"]
    assert set(run["curves"]) == curves


def test_charts_name_the_runs_and_hold_every_point(home: Path):
    done = lewm_here(home, "plot", "robot/lewm", "robot/delta")
    assert done.out.splitlines()[:3] == ["a  robot/lewm", "b  robot/delta", "capitals: held-out clips"]
    chart = done.out.partition("\nloss (log scale)\n")[2].partition("\n\n")[0].splitlines()
    assert [line.count("a") for line in chart] == [0, 0, 1, 0, 0, 0, 1, 0]  # 3 is there between 8 and 0.5
    assert chart[0].startswith(" 8.00 │")
    assert chart[0].count("b") == 1
    assert chart[-1].endswith("20 steps")
    assert done.err.splitlines() == [f"plot: {home}/robot/lewm.run/curves.png"]


def test_losses_of_phases_share_no_panel(home: Path):
    losses = ((10, "value", 8.0), (20, "value", 4.0), (30, "policy", -1.0), (40, "policy", -2.0))
    write(home, "robot/gcivl", started(0), *(replace(taken(at, loss), parts={of: loss}) for at, of, loss in losses))
    done = lewm_here(home, "plot", "robot/gcivl", "robot/lewm", "--term", "loss")
    first, _, second = done.out.partition("\nloss, phase 2\n")
    chart = first.partition("\nloss (log scale)\n")[2]
    assert (chart.count("a"), chart.count("b")) == (2, 2)
    assert (second.count("a"), second.count("b")) == (2, 0)
    assert second.startswith("\N{MINUS SIGN}1.00 │")


@pytest.mark.parametrize("suffix", ["png", "PNG", "svg", "pdf"])
def test_picture_is_drawn_where_it_is_asked_for(home: Path, tmp_path: Path, suffix: str):
    file = tmp_path / f"curves.{suffix}"
    done = lewm_here(home, "plot", "robot/lewm", "robot/delta", "--x", "time", "--output", file)
    assert done.code == 0, done.err
    if suffix.lower() == "png":
        drawn = {tuple(color) for color in np.asarray(Image.open(file).convert("RGB")).reshape(-1, 3)}
        assert {(0x0A, 0x5F, 0xB4), (0xB5, 0x52, 0x0A)} <= drawn  # one color per run
    assert file.read_bytes()[:4] == {"png": b"\x89PNG", "svg": b"<?xm", "pdf": b"%PDF"}[suffix.lower()]


def test_more_runs_than_colors_and_letters_are_drawn(home: Path):
    names = [f"robot/run-{number}" for number in range(30)]
    for number, name in enumerate(names):
        write(home, name, started(0), taken(10, 1.0 + number), taken(20, 0.1))
    done = lewm_here(home, "plot", *names, "--term", "loss")
    assert done.code == 0, done.err
    assert done.out.count("robot/run-") == 30


def test_runs_without_a_log_are_left_out_and_said(home: Path):
    (home / "robot" / "theirs.pt").write_bytes(b"weights")
    done = lewm_here(home, "plot", "robot/theirs", "robot/lewm", "--term", "loss", "--json")
    assert "left out, for there is no log of a training: robot/theirs" in done.err
    assert [run["run"] for run in done.json()["runs"]] == ["robot/lewm"]
    assert "there is no log of a training: robot/theirs" in lewm_here(home, "plot", "robot/theirs").sentence()


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["robot/lewn"], "there is no run 'robot/lewn'", 1),
        (["robot/lewm", "--term", "predicton"], "no curve of these runs is called 'predicton'; did you mean", 2),
        (["robot/lewm", "--x", "steps"], "--x steps means nothing; did you mean 'step'?", 2),
        (["robot/lewm", "--output", "curves.jpg"], "'curves.jpg' does not end in .png, .svg, .pdf", 2),
        (["robot/lewm", "--output", "/proc/curves.png"], "/proc/curves.png cannot be written", 1),
        (["robot/begun"], "nothing has been logged yet of robot/begun", 1),
        (["robot/tried"], "neither losses nor latents are logged, but eval/success, eval/random; draw them with", 1),
    ],
)
def test_wrong_requests_get_a_sentence(home: Path, arguments: list[str], said: str, code: int):
    write(home, "robot/begun", started(0))
    rate = Rate(successes=3, trials=4, rate=0.75, low=0.3, high=0.95)
    write(home, "robot/tried", started(0), SuccessMeasured(10, rate, rate, {}, 1.0, best=True))
    assert said in lewm_here(home, "plot", *arguments).sentence(code)
    assert not list(home.rglob("*.png*"))


def test_run_that_has_not_logged_yet_is_said(home: Path):
    write(home, "robot/begun", started(0))
    done = lewm_here(home, "plot", "robot/begun", "robot/lewm", "--term", "loss")
    assert "nothing has been logged yet of robot/begun" in done.err
    assert done.out.startswith("a  robot/begun\nb  robot/lewm\n")


def test_time_is_that_of_training_without_pauses(tmp_path: Path):
    log = write_at(
        tmp_path / "log.jsonl",
        (0, started(0)),
        (10, taken(10)),
        (21, taken(20)),
        (30, taken(30)),  # lost when it was killed, after a save at 20
        (1000, started(20)),
        (1005, taken(30, loss=0.5)),
        (500, taken(40, loss=0.25)),  # the clock was set back
    )
    curve = read_curves(log)["train/loss"]
    assert curve.steps == [10, 20, 30, 40]
    assert curve.seconds == [10, 21, 26, 26]
    assert curve.values == [1.5, 1.5, 0.5, 0.25]


def test_log_of_an_older_version_and_numbers_that_are_not_finite(tmp_path: Path):
    log = tmp_path / "log.jsonl"
    for event in (started(0), taken(10), taken(20, loss=float("nan"))):
        JsonLog(log)(event)
    older = [
        {key: value for key, value in json.loads(line).items() if not key.endswith("_memory")}
        for line in log.read_text().splitlines()
    ]
    log.write_text("".join(f"{json.dumps(line)}{os.linesep}" for line in older))
    curves = read_curves(log)
    assert curves["train/loss"].steps == [10]
    assert curves["optimizer/lr"].steps == [10, 20]
    assert "memory/process_gb" not in curves
