"""The log of a training reads back as what happened, whatever has been done to it since."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lewm_cli.statistics import Estimate, Rate
from lewm_cli.train import HeldOutLatents, HeldOutMeasured, JsonLog, TrainingHistory, read_curves, read_log
from lewm_cli.train.events import (
    Best,
    Saved,
    StepsTaken,
    SuccessMeasured,
    TrainingEvent,
    TrainingFinished,
    TrainingStarted,
    Warned,
)

HELD_OUT = HeldOutLatents({"SIGReg": 1.0}, 0.5, 1.0, 1.0, 0.9, 7.5, 0.0)
EMPTY = TrainingHistory((), (), (), None)


def started(first_step: int) -> TrainingStarted:
    return TrainingStarted("robot/run", "cpu", 10, 100, 20, 2, first_step, 100)


def taken(step: int, loss: float = 1.5) -> StepsTaken:
    return StepsTaken(step, 100, loss, {"prediction": 1.0, "SIGReg": 0.5}, 1e-3, 2.0, 0.01, 0.02, 640.0, 9.5)


def measured(step: int, prediction: float = 0.25) -> HeldOutMeasured:
    return HeldOutMeasured(step, replace(HELD_OUT, prediction=prediction))


def evaluated(step: int, successes: int = 3) -> SuccessMeasured:
    rate = Rate(successes=successes, trials=10, rate=successes / 10, low=0.1, high=0.6)
    return SuccessMeasured(step, rate, rate, {"agent x": Estimate(value=0.5, low=0.25, high=0.75)}, 1.5, best=True)


def finished(step: int, seconds: float = 12.5) -> TrainingFinished:
    return TrainingFinished("robot/run", "generic", step, seconds, HELD_OUT, "run.safetensors")


def write(path: Path, *events: TrainingEvent) -> Path:
    log = JsonLog(path)
    for event in events:
        log(event)
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "lewm.run" / "log.jsonl"


def test_what_was_written_is_read(log: Path):
    write(log, started(0), taken(5), taken(10), measured(10), Warned(10, "odd"), Saved(10, "x"), evaluated(10))
    write(log, replace(finished(10), best=Best("robot/run@best", 10, evaluated(10).success)))
    history = read_log(log)
    known = (taken(5), taken(10)), (measured(10),), (Warned(10, "odd"),), 12.5, (evaluated(10),)
    assert history == TrainingHistory(*known)


def test_straightness_is_read_and_logs_of_before_have_none(log: Path):
    straight = HeldOutMeasured(10, replace(HELD_OUT, straightness=0.25))
    write(log, straight, measured(20))
    lines = log.read_text().splitlines()
    log.write_text(f"{lines[0]}\n" + lines[1].replace(', "straightness": null', "") + "\n")
    assert log.read_text().count("straightness") == 1
    assert read_log(log).held_out == (straight, measured(20))
    curves = read_curves(log)
    assert (curves["latents/straightness"].steps, curves["latents/straightness"].values) == ([10], [0.25])
    assert curves["latents/cosine"].steps == [10, 20]


@pytest.mark.parametrize("content", [None, b"", b"\n\n", b"\xff\xfe\x00", b"not JSON\n", b"[]\nnull\n3\n{}\n"])
def test_log_without_events_is_no_history(log: Path, content: bytes | None):
    if content is not None:
        log.parent.mkdir()
        log.write_bytes(content)
    assert read_log(log) == EMPTY


def test_training_that_is_not_finished_has_no_duration(log: Path):
    assert read_log(write(log, started(0), taken(5))).seconds is None


def test_resumed_training_replaces_what_it_does_over(log: Path):
    # Killed after step 30, saved at step 20.
    write(log, started(0), *(taken(step) for step in (5, 10, 15, 20)), measured(10), measured(20), taken(25))
    write(log, Warned(15, "kept"), Warned(25, "gone"), measured(30), taken(30))
    write(log, started(20), taken(25, loss=2.5), measured(30, prediction=0.125), taken(40), finished(40, 3.0))
    history = read_log(log)
    assert history.steps == (taken(5), taken(10), taken(15), taken(20), taken(25, loss=2.5), taken(40))
    assert history.held_out == (measured(10), measured(20), measured(30, prediction=0.125))
    assert history.warnings == (Warned(15, "kept"),)
    assert history.seconds is None  # the part before is not known


def test_training_started_anew_forgets_what_came_before(log: Path):
    write(log, started(0), taken(5), measured(5), started(0), taken(7))
    assert read_log(log) == TrainingHistory((taken(7),), (), (), None)


@given(
    kept=st.integers(0, 3),
    resumes=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 8), st.integers(1, 7)), max_size=5),
)
def test_steps_increase_whatever_was_resumed(
    tmp_path_factory: pytest.TempPathFactory, kept: int, resumes: list[tuple[int, int, int]]
):
    log = tmp_path_factory.mktemp("log") / "log.jsonl"
    for first, events, apart in [(0, kept, 3), *resumes]:
        steps = range(first + apart, first + apart * (events + 1), apart)
        write(log, started(first), *(taken(step) for step in steps), *(measured(step) for step in steps))
    history = read_log(log)
    for found in (history.steps, history.held_out):
        steps = [event.step for event in found]
        assert steps == sorted(set(steps))


def test_lines_cut_short_are_passed_over(log: Path):
    whole = write(log, started(0), taken(5), measured(10)).read_bytes()
    length = len(whole.splitlines()[-1])
    for kept in (0, 1, length // 2, length - 1):
        log.write_bytes(whole + whole[-length - 1 :][:kept])  # the next line, cut short
        assert read_log(log) == TrainingHistory((taken(5),), (measured(10),), (), None)
    log.write_bytes(whole[: -length // 2])
    assert read_log(log) == TrainingHistory((taken(5),), (), (), None)
    # What another process appends after half a line is lost with it, and nothing else is.
    write(log, taken(15), taken(20))
    assert read_log(log).steps == (taken(5), taken(20))


def test_lines_of_other_versions_are_passed_over(log: Path):
    write(log, started(0))
    newer = {"event": "StepsTaken", **asdict(taken(10)), "added": [1, 2]}
    older = {"event": "StepsTaken", "step": 15, "loss": 1.0}
    others = [newer, older, {"event": "Imagined", "step": 3}, {"event": ["StepsTaken"]}, {"step": 9}]
    with log.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in others)
    write(log, taken(20))
    assert read_log(log).steps == (taken(10), taken(20))


def test_message_with_odd_line_ends_is_one_line(log: Path):
    said = Warned(5, "one\u2028two\x85three\r\n\x0cfour \U0001f600")
    assert read_log(write(log, started(0), said)).warnings == (said,)
