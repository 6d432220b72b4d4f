"""A dry run writes nothing, and what it says comes true when the training is done."""

import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from commands import PATIENCE, flat, lewm_here
from lewm_cli.config import ActionStats, Inputs
from lewm_cli.data import Clip
from lewm_cli.methods import Phase, TrainConfig
from lewm_cli.store import RunFiles, read_card, save_run
from lewm_cli.train import find_preset, forecast
from lewm_cli.train.learner import Learner
from lewm_cli.train.step_memory import StepMemory

pytest_plugins = ("recordings",)

SIDE = 64


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures the fewest steps that are allowed."""
    monkeypatch.setattr(forecast, "SECONDS", 0.0)


def test_what_is_foretold_comes_true(robot: Path, tiny: Path):
    training = ["train", "robot/pick", "--config", tiny, "--method", "inverse", "--steps", 40]
    training += ["--set", "optimizer.accumulate=8"]
    before = set(robot.rglob("*"))
    told = lewm_here(robot, *training, "--dry-run", "--json")
    shown = lewm_here(robot, *training, "--dry-run")
    assert (told.code, shown.code) == (0, 0), told.err + shown.err
    assert set(robot.rglob("*")) == before
    found = told.json()
    done = lewm_here(robot, *training, "--json")
    assert done.code == 0, done.err
    files, name = RunFiles(robot / found["run"]), done.json()["run"]
    assert (found["run"], found["steps"], found["dataset"]) == (name, done.json()["step"], "robot/pick")
    assert (
        f"{found['parameters']:,} parameters, {found['train_clips']:,} clips, {found['held_out_clips']:,} held out"
        in done.err
    )
    assert found["loss_parameters"] > 0
    weights = sum(path.stat().st_size for path in (files.weights, files.state_dict, files.object))
    assert found["disk"]["weights"] == pytest.approx(weights, rel=0.4)  # of so small a model names are a part
    assert found["disk"]["resume"] == pytest.approx(files.resume.stat().st_size, rel=0.4)
    assert found["disk"]["log"] == pytest.approx(files.log.stat().st_size, rel=0.5)
    assert found["duration"]["whole"] > 40 * found["phases"][0]["update"]
    toml = shown.out[shown.out.index('method = "inverse"') :]
    assert TrainConfig.build(tomllib.loads(toml), "printed") == read_card(files.weights).provenance.train


def test_time_of_all_phases_is_added_up(robot: Path, small_model, small_card, monkeypatch: pytest.MonkeyPatch):
    seconds = {"value": 2.0, "policy": 3.0}
    monkeypatch.setattr(forecast, "_time_step", lambda learner, *_: (0.0, seconds[learner.phase.name]))
    save_run(RunFiles(robot / "robot" / "lewm"), small_model, small_card(small_model))
    line = ("train", "robot/pick", "--preset", "small", "--method", "gcivl", "--encoder", "robot/lewm", "--dry-run")
    line += ("--steps", 100, "--batch-size", 8, "--set", "objective.value_share=0.25", "--set", "monitor.every=1000")
    done = lewm_here(robot, *line, "--json")
    assert done.code == 0, done.err
    found = done.json()
    phases = [(one["phase"], one["steps"], one["update"]) for one in found["phases"]]
    assert phases == [("value", 25, 2), ("policy", 75, 3)]
    assert found["duration"]["steps"] == 25 * 2 + 75 * 3
    shown = flat(lewm_here(robot, *line).out)
    assert "a step of value update 2000.0 ms" in shown
    assert "0:03:45 for all 75" in shown


def test_batch_that_cannot_fit_is_refused_with_one_that_does(robot: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch):
    def told() -> str:
        return lewm_here(robot, "train", "robot/pick", "--config", tiny, "--dry-run").sentence()

    monkeypatch.setattr(StepMemory, "measure", lambda *given: StepMemory("cpu", 10**9, 10**8, 2 * 10**9))
    assert "a batch of 16 clips needs 2.6 GB of memory, and cpu has 2.0 GB for it; 8 fit: --batch-size 8" in told()
    monkeypatch.setattr(StepMemory, "measure", lambda *given: StepMemory("cpu", 10**9, 10**8, 10**9))
    assert "not even 2 fit" in told()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--resume"], 2, "--dry-run is about a run that begins"),
        (["--batch-size", 100_000], 1, "lower --batch-size"),
        (["--name", "a@best"], 2, "choose a --name without @best"),
        (["--eval-every", 5], 1, "no simulator belongs to robot/pick"),
        (["--init-from", "robot/nobody"], 1, "there is no run 'robot/nobody'"),
    ],
)
def test_what_training_refuses_is_refused(robot: Path, tiny: Path, arguments: list, code: int, said: str):
    before = set(robot.rglob("*"))
    assert said in lewm_here(robot, "train", "robot/pick", "--config", tiny, "--dry-run", *arguments).sentence(code)
    assert set(robot.rglob("*")) == before


def test_run_that_exists_is_neither_replaced_nor_given_as_free(robot: Path, tiny: Path):
    training = ["train", "robot/pick", "--config", tiny, "--steps", 2]
    assert lewm_here(robot, *training).code == 0
    weights = RunFiles(robot / "robot" / "lewm").weights
    before = weights.read_bytes()
    assert lewm_here(robot, *training, "--dry-run", "--json").json()["run"] == "robot/lewm-2"
    named = [*training, "--dry-run", "--name", "robot/lewm"]
    assert "the run 'robot/lewm' exists" in lewm_here(robot, *named).sentence()
    assert lewm_here(robot, *named, "--overwrite", "--init-from", "robot/lewm").code == 0
    assert weights.read_bytes() == before


def a_learner() -> Learner:
    config = find_preset("tworoom/small").config()
    inputs = Inputs(task="tworoom", frameskip=5, actions=ActionStats(mean=(0, 0), std=(1, 1)))
    return Learner(config, inputs, type(config.objective).network(config.model, 10), torch.device("cpu"))


def some_clips(count: int) -> Clip:
    return Clip(torch.zeros(count, 4, SIDE, SIDE, 3, dtype=torch.uint8), torch.zeros(count, 4, 10))


@pytest.mark.slow
def test_memory_of_a_large_batch_is_reckoned_from_small_ones():
    memory = StepMemory.measure(a_learner(), lambda phase: some_clips(8))
    assert memory.largest == (memory.available - memory.fixed) // memory.per_clip
    beside = StepMemory.measure(a_learner(), lambda phase: some_clips(8), frames=10**9)
    assert beside.fixed - memory.fixed == pytest.approx(10**9, rel=0.1)
    assert beside.largest < memory.largest
    few, many = 32, 288
    taken = [peak_of_a_process(few), peak_of_a_process(many)]
    assert memory.of(many) - memory.of(few) == pytest.approx(taken[1] - taken[0], rel=0.3)


def peak_of_a_process(clips: int) -> int:
    """Bytes that a process of its own holds at most, which takes two steps."""
    program = (
        "import test_forecast as test; learner = test.a_learner()\n"
        f"for _ in range(2): learner.step(test.some_clips({clips}), 0.0)\n"
        "from lewm_cli.train.memory import process_peak; print(process_peak())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return int(ended.stdout)


def test_what_libraries_load_at_a_first_step_counts(monkeypatch: pytest.MonkeyPatch):
    peaks = iter([10**9, 3 * 10**9])
    monkeypatch.setattr("lewm_cli.train.step_memory.process_peak", lambda: next(peaks))
    assert StepMemory.measure(a_learner(), lambda phase: some_clips(8)).fixed == pytest.approx(3 * 10**9, rel=0.01)


def test_memory_is_that_of_the_hungriest_phase(monkeypatch: pytest.MonkeyPatch):
    encoder = {"patch_size": 16, "width": 64, "depth": 1, "heads": 2, "mlp": 32}
    model = {"image_size": SIDE, "encoder": encoder, "predictor": {"depth": 4, "heads": 4, "head_dim": 32, "mlp": 256}}
    config = TrainConfig.build({"method": "gciql", "model": model, "optimizer": {"precision": "float32"}}, "the test")
    inputs = Inputs(task="tworoom", frameskip=5, actions=ActionStats(mean=(0, 0), std=(1, 1)))
    both = config.objective.phases

    def per_clip(*phases: Phase) -> int:
        monkeypatch.setattr(type(config.objective), "phases", phases)
        network = type(config.objective).network(config.model, inputs.block_dim)
        learner = Learner(config, inputs, network, torch.device("cpu"))
        clips = some_clips(8)
        return StepMemory.measure(learner, lambda phase: replace(clips, goals=clips.pixels[:, -1])).per_clip

    value, policy = (per_clip(phase) for phase in both)
    assert value > 1.2 * policy  # a critic and a value learn at the same time
    for order in (both, both[::-1]):
        assert per_clip(*order) == pytest.approx(value, rel=0.02)
