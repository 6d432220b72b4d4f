"""What `lewm train` promises: the same numbers whatever interrupts it, the last good state kept, and plain words."""

import json
import multiprocessing
import os
import random
import shlex
import shutil
import signal
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from commands import Done, alive, descendants, ended, left_behind, lewm, lewm_here, running, wait_until
from lewm_cli.config import ActionStats, DataConfig, Inputs, ObjectiveConfig, TrainConfig
from lewm_cli.data import (
    ClipBatches,
    ClipIndex,
    Dataset,
    DecodedFrames,
    HDF5Dataset,
    find_packed,
    open_dataset,
    pack_frames,
    split_clips,
)
from lewm_cli.errors import LewmError
from lewm_cli.files import locked
from lewm_cli.model import LeWM, Objective, recalibrated
from lewm_cli.store import Home, RunFiles, load_run, read_card
from lewm_cli.train import HeldOut, JsonLog, Warned
from synthetic import TINY, write_recording

pytest_plugins = ("recordings",)

STEPS = 200
RUN = "robot/run"


def run_files(home: Path, name: str = RUN) -> RunFiles:
    return RunFiles(home / name)


def tensors(home: Path, name: str = RUN) -> dict[str, torch.Tensor]:
    return load_file(run_files(home, name).weights)


def assert_equal_tensors(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


def events(home: Path, name: str = RUN) -> list[dict]:
    """The log; strict, so that neither half a line nor NaN is let through."""
    log = run_files(home, name).log
    if not log.exists():
        return []

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    text = log.read_text(encoding="utf-8")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def count(home: Path, event: str, name: str = RUN) -> int:
    log = run_files(home, name).log
    return log.read_text(encoding="utf-8").count(f'"event": "{event}"') if log.exists() else 0


def loads(home: Path, name: str = RUN) -> bool:
    """Whether there are weights; those that are there load strictly."""
    if not run_files(home, name).weights.exists():
        return False
    load_run(Home(home, (home,)), name)
    return True


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A home with a recording and the run that all others are compared with; not to be written to."""
    home = tmp_path_factory.mktemp("uninterrupted")
    write_recording(home / "robot" / "pick.h5")
    done = lewm(home, "train", "robot/pick", "--config", tiny, "--steps", STEPS, "--name", RUN)
    assert done.code == 0, done.err
    return home


def train(tiny: Path, *arguments: object) -> list[object]:
    return ["train", "robot/pick", "--config", tiny, "--name", RUN, *arguments]


# Interrupted


@pytest.mark.slow
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 2), (signal.SIGINT, 1)])
def test_interrupted_training_goes_on_exactly(uninterrupted: Path, robot: Path, tiny: Path, number: int, workers: int):
    with running(robot, *train(tiny, "--steps", STEPS, "--set", f"data.workers={workers}")) as process:
        wait_until(lambda: count(robot, "Saved") >= 1, process)
        helpers = descendants(process.pid)
        os.killpg(process.pid, number)
        stopped = ended(process)
    assert len(helpers) >= workers
    wait_until(lambda: not any(alive(helper) for helper in helpers))
    said = stopped.sentence(code=128 + number)
    step = events(robot)[-1]["step"]
    assert 0 < step < STEPS
    assert f"stopped after step {step} of {STEPS} with everything saved" in said
    assert loads(robot)
    # A second recording must not make the advice ambiguous.
    write_recording(robot / "robot" / "place.h5", noise=1)
    command = shlex.split(said.partition("go on with: ")[2])
    assert command[:2] == ["lewm", "train"]
    resumed = lewm(robot, *command[1:])
    assert resumed.code == 0, resumed.err
    assert [event["step"] for event in events(robot) if event["event"] == "TrainingFinished"] == [STEPS]
    assert_equal_tensors(tensors(robot), tensors(uninterrupted))


@pytest.mark.slow
@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.soak)])
def test_killed_training_goes_on_exactly(uninterrupted: Path, robot: Path, tiny: Path, kills: int):
    generator = random.Random(kills)
    files = run_files(robot)

    def go_on() -> list[object]:
        saved = loads(robot) and files.resume.exists()
        if saved and not count(robot, "TrainingFinished"):
            return ["--resume"]
        if saved:
            assert_equal_tensors(tensors(robot), tensors(uninterrupted))
        shutil.rmtree(files.folder, ignore_errors=True)
        return ["--overwrite", "--config", tiny, "--steps", STEPS]

    for number in range(kills):
        again = go_on()
        begun = count(robot, "TrainingStarted")
        with running(robot, "train", "robot/pick", "--name", RUN, *again) as process:
            if number % 5 < 4:  # most of them while it trains
                wait_until(lambda begun=begun: count(robot, "TrainingStarted") > begun, process)
            time.sleep(generator.uniform(0.0, 0.4))
            os.kill(process.pid, signal.SIGKILL)
            ended(process)
    done = lewm(robot, "train", "robot/pick", "--name", RUN, *go_on())
    assert done.code == 0, done.err
    assert left_behind(robot) == []
    assert_equal_tensors(tensors(robot), tensors(uninterrupted))


@pytest.mark.slow
def test_run_killed_before_its_first_save_says_how_to_go_on(robot: Path, tiny: Path):
    run_files(robot).folder.mkdir(parents=True)
    run_files(robot).config.touch()
    refused = lewm_here(robot, "train", "robot/pick", "--name", RUN, "--resume").sentence()
    assert "nothing was saved; start it without --resume" in refused
    done = lewm_here(robot, *train(tiny, "--steps", 2))
    assert done.code == 0, done.err


@pytest.mark.slow
def test_full_disk_stops_training_with_the_last_good_state(
    uninterrupted: Path, robot: Path, tiny: Path, small_disk: Callable[[str], Path]
):
    home = small_disk("4m")
    shutil.copytree(robot, home, dirs_exist_ok=True)
    filler = home / "filler"
    with running(home, *train(tiny, "--steps", STEPS)) as process:
        wait_until(lambda: count(home, "Saved") >= 1, process)
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        said = ended(process).sentence()
    assert "the disk under" in said
    assert "is full" in said
    assert loads(home)
    assert left_behind(home) == []
    filler.unlink()
    resumed = lewm(home, "train", "robot/pick", "--name", RUN, "--resume")
    assert resumed.code == 0, resumed.err
    assert_equal_tensors(tensors(home), tensors(uninterrupted))
    assert events(home)[-1]["event"] == "TrainingFinished"


@pytest.mark.slow
def test_full_disk_leaves_no_half_line_in_the_log(small_disk: Callable[[str], Path]):
    home = small_disk("64k")
    log = JsonLog(run_files(home).log)

    def tell(first: int) -> None:
        for step in range(first, 10_000):
            log(Warned(step, "x" * 500))

    with pytest.raises(LewmError, match="is full"):
        tell(0)
    lines = events(home)
    assert 0 < len(lines) < 10_000
    assert [line["step"] for line in lines] == list(range(len(lines)))


@pytest.mark.slow
def test_second_training_under_one_name_is_refused_while_the_first_goes_on(robot: Path, tiny: Path):
    with running(robot, *train(tiny, "--steps", 100_000)) as process:
        wait_until(lambda: count(robot, "Saved") >= 1, process)
        for extra in ([], ["--overwrite"]):
            assert f"another training is writing '{RUN}'" in lewm_here(robot, *train(tiny, *extra)).sentence()
        refused = lewm_here(robot, "train", "robot/pick", "--name", RUN, "--resume")
        assert f"another training is writing '{RUN}'" in refused.sentence()
        saved = count(robot, "Saved")
        wait_until(lambda: count(robot, "Saved") > saved, process)


# What a run says of itself


def test_log_holds_every_event_in_order(uninterrupted: Path):
    log = events(uninterrupted)
    kinds = [event["event"] for event in log]
    assert kinds[0] == "TrainingStarted"
    assert kinds[-1] == "TrainingFinished"
    assert set(kinds[1:-1]) <= {"StepsTaken", "HeldOutMeasured", "Saved", "Warned"}
    saved = list(range(10, STEPS + 1, 10))
    assert [event["step"] for event in log if event["event"] == "Saved"] == saved
    assert [event["step"] for event in log if event["event"] == "HeldOutMeasured"] == saved
    assert [event["step"] for event in log if event["event"] == "StepsTaken"] == list(range(5, STEPS + 1, 5))
    assert log[-1]["held_out"] == [event for event in log if event["event"] == "HeldOutMeasured"][-1]["held_out"]


def test_configuration_file_rebuilds_the_configuration(uninterrupted: Path):
    files = run_files(uninterrupted)
    rebuilt = TrainConfig.build(tomllib.loads(files.config.read_text(encoding="utf-8")), "config.toml")
    assert rebuilt == read_card(files.weights).provenance.train


def test_no_run_has_a_folder_of_its_own_name(uninterrupted: Path):
    # stable_worldmodel would look only inside it.
    assert not (uninterrupted / RUN).exists()


def test_held_out_episodes_are_recorded_and_never_trained_on(uninterrupted: Path):
    dataset = open_dataset(uninterrupted / "robot" / "pick.h5", "robot/pick")
    provenance = read_card(run_files(uninterrupted).weights).provenance
    kept = {digest for number, digest in enumerate(dataset.episode_digests) if number not in provenance.held_out}
    assert set(provenance.trained_on) == kept
    config = provenance.train
    split = split_clips(dataset, config.data, config.model.history + 1, config.seed)
    episode_of = np.repeat(np.arange(dataset.episodes), dataset.lengths)
    trained = {int(episode_of[row]) for start in split.train.starts for row in (start, start + split.train.span - 1)}
    assert provenance.held_out
    assert trained == set(range(dataset.episodes)) - set(provenance.held_out)
    assert provenance.dataset == dataset.identity


@pytest.mark.slow
def test_layers_end_up_in_the_card(robot: Path, tiny: Path):
    settings = ["--lambda", 0.25, "--batch-size", 8, "--seed", 5, "--steps", 4]
    settings += ["--set", "optimizer.clip=2", "--set", "objective.lambda=0.5", "--set", "monitor.every=3"]
    done = lewm_here(robot, *train(tiny, *settings, "--json"))
    assert done.code == 0, done.err
    assert done.json()["step"] == 4
    assert done.err.splitlines()[-1] == f"next: lewm show {RUN}"  # without a simulator
    config = read_card(run_files(robot).weights).provenance.train
    assert config.objective.lambda_ == 0.25  # the plain option wins over --set
    assert (config.optimizer.clip, config.optimizer.batch_size, config.seed) == (2.0, 8, 5)
    assert (config.model.latent, config.objective.knots) == (4, 9)  # the file
    assert config.optimizer.weight_decay == 1e-3  # the preset's default


@pytest.mark.slow
def test_default_names_count_up(robot: Path, tiny: Path):
    for name in ("robot/lewm", "robot/lewm-2"):
        done = lewm_here(robot, "train", "robot/pick", "--config", tiny, "--steps", 2)
        assert done.code == 0, done.err
        assert loads(robot, name)
    assert_equal_tensors(tensors(robot, "robot/lewm"), tensors(robot, "robot/lewm-2"))


@pytest.mark.slow
def test_last_line_is_the_command_to_type_next(training: tuple[Path, Done]):
    home, done = training
    assert done.err.splitlines()[-1].endswith("lewm eval tworoom/lewm")
    assert "step     20/20" in done.err
    assert "SIGReg" in done.out
    assert loads(home, "tworoom/lewm")


@pytest.mark.slow
def test_taken_name_is_refused_unless_told_otherwise(uninterrupted: Path, tiny: Path, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(uninterrupted, home)
    before = tensors(home)
    refused = lewm_here(home, *train(tiny, "--steps", 2)).sentence()
    assert "--resume" in refused
    assert "--overwrite" in refused
    # Nothing of the old run goes before it is sure that there will be a new one.
    lewm_here(home, *train(tiny, "--overwrite", "--batch-size", 100_000)).sentence()
    lewm_here(home, *train(tiny, "--overwrite", "--set", "schedule.decay=1 step")).sentence(code=2)
    assert_equal_tensors(tensors(home), before)
    assert events(home) == events(uninterrupted)
    assert lewm_here(home, *train(tiny, "--steps", 2, "--overwrite")).code == 0
    assert read_card(run_files(home).weights).provenance.step == 2
    assert [event["step"] for event in events(home) if event["event"] == "Saved"] == [2]


@pytest.mark.slow
def test_start_from_another_runs_weights(uninterrupted: Path, tiny: Path, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(uninterrupted, home)
    arguments = ["train", "robot/pick", "--config", tiny, "--init-from", RUN]
    # A step of next to no length: what is saved is what it started from.
    still = ["--steps", 1, "--set", "optimizer.lr=1e-30", "--set", "optimizer.weight_decay=0"]
    done = lewm_here(home, *arguments, *still, "--name", "robot/copy")
    assert done.code == 0, done.err
    copied, source = tensors(home, "robot/copy"), tensors(home)
    # BatchNorm statistics are averaged anew before every save.
    learned = [key for key in source if "running_" not in key and "num_batches" not in key]
    assert [key for key in learned if not torch.allclose(copied[key], source[key], atol=1e-12)] == []
    assert read_card(run_files(home, "robot/copy").weights).provenance.init_from == RUN
    refused = lewm_here(home, *arguments, "--set", "model.latent=6", "--name", "robot/wider")
    assert "has other sizes" in refused.sentence()
    refused = lewm_here(home, *arguments, "--set", "data.frameskip=3", "--name", "robot/slower")
    assert "has other sizes" in refused.sentence()
    write_recording(home / "robot" / "arm.h5", dims=4)
    refused = lewm_here(home, "train", "robot/arm", "--config", tiny, "--init-from", RUN)
    assert f"{RUN!r} was trained with 3 action dimensions, and robot/arm has 4" in refused.sentence()
    missing = lewm_here(home, "train", "robot/pick", "--config", tiny, "--init-from", "robot/nobody")
    assert "there is no run 'robot/nobody'" in missing.sentence()


@pytest.mark.slow
def test_what_starts_from_another_run_keeps_its_statistics_and_what_it_has_seen(
    uninterrupted: Path, tiny: Path, tmp_path: Path
):
    home = tmp_path / "home"
    shutil.copytree(uninterrupted, home)
    write_recording(home / "robot" / "place.h5", noise=1)
    before = {RUN: read_card(run_files(home).weights)}
    for what, parent, name in (("place", RUN, "robot/second"), ("pick", "robot/second", "robot/third")):
        arguments = ["train", f"robot/{what}", "--config", tiny, "--steps", 1, "--init-from", parent, "--name", name]
        done = lewm_here(home, *arguments)
        assert done.code == 0, done.err
        card = before[name] = read_card(run_files(home, name).weights)
        assert card.inputs == before[parent].inputs
        assert card.provenance.dataset.name == f"robot/{what}"
        digests = open_dataset(home / "robot" / f"{what}.h5", what).episode_digests
        own = {digest for number, digest in enumerate(digests) if number not in card.provenance.held_out}
        assert set(card.provenance.trained_on) == own | set(before[parent].provenance.trained_on)
    assert len(before["robot/third"].provenance.trained_on) == 2 * len(before[RUN].provenance.trained_on)


@pytest.mark.slow
def test_resume_takes_no_settings_and_needs_a_run(uninterrupted: Path, tiny: Path):
    resume = ["train", "robot/pick", "--name", RUN, "--resume"]
    for setting in (["--lambda", 0.1], ["--config", tiny], ["--preset", "small"], ["--overwrite"]):
        assert "--resume goes on with the run's own" in lewm_here(uninterrupted, *resume, *setting).sentence(code=2)
    nobody = lewm_here(uninterrupted, "train", "robot/pick", "--name", "robot/nobody", "--resume")
    assert "there is no run to resume" in nobody.sentence()


# What goes wrong


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 5])
def test_diverged_training_stops_in_words(robot: Path, tiny: Path, every: int):
    steep = ["--set", "optimizer.lr=1e30", "--set", "optimizer.clip=1e30", "--set", f"monitor.every={every}"]
    said = lewm_here(robot, *train(tiny, *steep)).sentence()
    assert "the loss is no longer finite at step" in said
    assert "no state had been saved yet" in said
    assert not loads(robot)
    assert events(robot)[0]["event"] == "TrainingStarted"


@pytest.mark.slow
def test_training_that_diverges_late_keeps_the_last_good_state(robot: Path, tiny: Path):
    # The learning rate climbs until numbers overflow.
    steep = ["--set", "optimizer.lr=1e3", "--set", "schedule.warmup=0.99", "--set", "monitor.every=1"]
    said = lewm_here(robot, *train(tiny, *steep, "--set", "optimizer.weight_decay=0", "--steps", 100)).sentence()
    assert "the last good state is kept" in said
    assert loads(robot)
    step = read_card(run_files(robot).weights).provenance.step
    assert [event["step"] for event in events(robot) if event["event"] == "Saved"][-1] == step
    assert all(value.isfinite().all() for value in tensors(robot).values())


@pytest.mark.slow
def test_collapse_is_said_in_plain_words(robot: Path, tiny: Path):
    done = lewm_here(robot, *train(tiny, "--lambda", 0, "--steps", 120, "--set", "optimizer.lr=1e-2"))
    assert done.code == 0, done.err
    assert done.err.count("warning: the latent space has collapsed") == 1
    assert "raise --lambda (now 0)" in done.err
    healthy = lewm_here(robot, *train(tiny, "--steps", 40, "--overwrite"))
    assert "collapsed" not in healthy.err.replace("(collapsed", "")


def test_several_recordings_of_a_task_are_listed(tmp_path: Path):
    for name in ("one", "two"):
        write_recording(tmp_path / "tworoom" / f"{name}.h5", dims=2, task="tworoom")
    said = lewm_here(tmp_path, "train", "tworoom").sentence()
    assert "tworoom/one, tworoom/two" in said
    assert "--dataset" in said


def test_recording_without_a_simulator_is_not_evaluated(uninterrupted: Path):
    assert read_card(run_files(uninterrupted).weights).inputs.task == "generic"
    assert read_card(run_files(uninterrupted).weights).inputs.actions.dim == 3
    assert "without a simulator" in lewm_here(uninterrupted, "eval", RUN).sentence()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nothing"], 1, "there is no dataset 'nothing'"),
        (["tworoom"], 1, "lewm collect tworoom"),
        (["robot/pick", "--lambda", "-1"], 2, "--lambda"),
        (["robot/pick", "--steps", 0], 2, "--steps"),
        (["robot/pick", "--steps", 9, "--epochs", 1], 2, "give one of them"),
        (["robot/pick", "--set", "schedule.stop=9"], 2, "'10 epochs' or '1500 steps'"),
        (["robot/pick", "--batch-size", 8, "--set", "schedule.decay=9 steps"], 2, "before training stops"),
        (["robot/pick", "--device", "abacus"], 2, "abacus"),
        (["robot/pick", "--preset", "smal"], 1, "there is no preset 'smal'"),
        (["robot/pick", "--set", "optimzer.lr=1"], 2, "optimizer.lr"),
        (["robot/pick", "--set", "optimizer.lr=-1"], 2, "optimizer.lr"),
        (["robot/pick", "--set", "lr"], 2, "section.key=value"),
        (["robot/pick", "--config", "nowhere.toml"], 1, "nowhere.toml"),
        (["robot/pick", "--name", "robot/run.safetensors"], 2, "'robot/run'"),
        (["robot/pick", "--batch-size", 100_000], 1, "lower --batch-size"),
        (["robot/pick", "--set", "data.frameskip=50"], 1, "data.frameskip"),
    ],
)
def test_what_cannot_be_trained_is_refused(robot: Path, arguments: list, code: int, said: str):
    assert said in lewm_here(robot, "train", *arguments).sentence(code)
    assert list(robot.rglob("*.safetensors")) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_missing_device_is_refused(robot: Path):
    assert "device 'cuda' is not available" in lewm_here(robot, "train", "robot/pick", "--device", "cuda").sentence()


ROWS = 60
FOREIGN = {
    "without pixels": {"columns": {"pixels": None}},
    "without actions": {"columns": {"action": None}},
    "without episode lengths": {"columns": {"ep_len": None}},
    "without episode offsets": {"columns": {"ep_offset": None}},
    "float pixels": {"columns": {"pixels": np.zeros((ROWS, 20, 20, 3), np.float32)}},
    "gray pixels": {"columns": {"pixels": np.zeros((ROWS, 20, 20), np.uint8)}},
    "gray pixels with a channel": {"columns": {"pixels": np.zeros((ROWS, 20, 20, 1), np.uint8)}},
    "channels first": {"columns": {"pixels": np.zeros((ROWS, 3, 20, 20), np.uint8)}},
    "oblong pixels": {"columns": {"pixels": np.zeros((ROWS, 20, 24, 3), np.uint8)}},
    "frames of no size": {"columns": {"pixels": np.zeros((ROWS, 0, 0, 3), np.uint8)}},
    "fewer frames than rows": {"columns": {"pixels": np.zeros((ROWS - 1, 20, 20, 3), np.uint8)}},
    "integer actions": {"columns": {"action": np.zeros((ROWS, 3), np.int64)}},
    "flat actions": {"columns": {"action": np.zeros(ROWS, np.float32)}},
    "actions of no dimension": {"columns": {"action": np.zeros((ROWS, 0), np.float32)}},
    "no finite action": {"columns": {"action": np.full((ROWS, 3), np.nan, np.float32)}},
    "infinite actions": {"columns": {"action": np.full((ROWS, 3), np.inf, np.float32)}},
    "no episodes": {"lengths": ()},
    "episodes too short": {"lengths": (7,) * 8},
    "one episode": {"lengths": (ROWS,)},
    "overlapping episodes": {"columns": {"ep_offset": np.array([0, 10])}},
    "episodes beyond the end": {"columns": {"ep_len": np.array([30, 31])}},
    "negative offset": {"columns": {"ep_offset": np.array([-30, 0])}},
    "an empty episode": {"columns": {"ep_len": np.array([0, 60])}},
    "lengths without offsets": {"columns": {"ep_offset": np.array([0])}},
    "lengths in words": {"columns": {"ep_len": np.array([b"thirty", b"thirty"])}},
    "one length for all": {"columns": {"ep_len": np.array(30)}},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_recording_is_refused_in_a_sentence(tmp_path: Path, tiny: Path, kind: str):
    write_recording(tmp_path / "foreign.h5", **({"lengths": (30, 30)} | FOREIGN[kind]))
    lewm_here(tmp_path, "train", "foreign", "--config", tiny).sentence()
    assert list(tmp_path.rglob("*.safetensors")) == []
    listed = lewm_here(tmp_path, "ls", "--json")
    assert listed.code == 0, listed.err
    assert [entry["name"] for entry in listed.json()["datasets"]] == ["foreign"]


def test_foreign_attributes_do_no_harm(tmp_path: Path):
    write_recording(tmp_path / "odd.h5", task=5, seed="none", policy=np.zeros(3))
    listed = lewm_here(tmp_path, "ls", "--json")
    assert listed.code == 0, listed.err
    assert [entry["name"] for entry in listed.json()["datasets"]] == ["odd"]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_recording_is_refused_in_a_sentence(tmp_path: Path, tiny: Path, share: float):
    path = write_recording(tmp_path / "cut.h5")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "cannot be read as HDF5" in lewm_here(tmp_path, "train", "cut", "--config", tiny).sentence()


def test_other_format_is_refused_in_a_sentence(tmp_path: Path):
    (tmp_path / "video.h5").write_bytes(b"RIFF" + bytes(4096))
    assert "cannot be read as HDF5" in lewm_here(tmp_path, "train", "video").sentence()


@pytest.mark.parametrize("settings", [(), ("data.packed=false",), ("data.packed=false", "data.workers=1")])
def test_damaged_frames_are_refused_in_a_sentence(tmp_path: Path, tiny: Path, settings: tuple[str, ...]):
    path = write_recording(tmp_path / "damaged.h5", columns={"pixels": None})
    with h5py.File(path, "a") as file:
        frames = np.random.default_rng(0).integers(0, 9, (174, 20, 20, 3), dtype=np.uint8)
        pixels = file.create_dataset("pixels", data=frames, chunks=(10, 20, 20, 3), compression="gzip")
        where = pixels.id.get_chunk_info(6)
    with path.open("r+b") as file:
        file.seek(where.byte_offset)
        file.write(bytes(where.size))
    options = [word for setting in settings for word in ("--set", setting)]
    said = lewm_here(tmp_path, "train", "damaged", "--config", tiny, *options).sentence()
    assert said.startswith(f"lewm: {path} cannot be read as HDF5")
    assert multiprocessing.active_children() == []  # Python would wait for them


# Clips


def dataset_of(lengths: list[int], gaps: list[int]) -> Dataset:
    offsets = np.cumsum([gap + length for gap, length in zip(gaps, lengths, strict=True)]) - np.array(lengths)
    return HDF5Dataset(Path("x.h5"), "x", np.array(lengths), offsets, columns=(), task=None, policy=None, seed=None)


@given(data=st.data(), frames=st.integers(2, 5), frameskip=st.integers(1, 6), seed=st.integers(0, 9))
def test_clips_never_cross_an_episode(data: st.DataObject, frames: int, frameskip: int, seed: int):
    lengths = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=8))
    gaps = data.draw(st.lists(st.integers(0, 3), min_size=len(lengths), max_size=len(lengths)))
    kind = data.draw(st.sampled_from(["episode", "clip"]))
    dataset = dataset_of(lengths, gaps)
    span = frames * frameskip
    usable = [episode for episode, length in enumerate(lengths) if length >= span]
    config = DataConfig(split=kind, frameskip=frameskip)
    expected = {int(dataset.offsets[e]) + step for e in usable for step in range(lengths[e] - span + 1)}
    try:
        split = split_clips(dataset, config, frames, seed)
    except LewmError:
        # Nothing to hold out, or one clip, of which nothing can be measured.
        shortest = min((lengths[e] for e in usable), default=0)
        assert len(usable) < 2 or shortest == span or len(expected) < 15
        return
    assert split.train.span == split.held_out.span == span
    train, held_out = set(split.train.starts.tolist()), set(split.held_out.starts.tolist())
    assert train | held_out == expected
    assert not train & held_out
    if kind == "episode":
        rows = {int(dataset.offsets[e]) + row for e in split.held_out_episodes for row in range(lengths[e])}
        assert held_out == expected & rows
        assert not train & rows
        assert train
        assert held_out


@pytest.fixture
def pick(robot: Path) -> Dataset:
    return open_dataset(robot / "robot" / "pick.h5", "robot/pick")


@pytest.mark.parametrize("size", [20, 16, 10, 24])
def test_packed_frames_are_those_of_the_recording(pick: Dataset, tmp_path: Path, size: int):
    told: list[int] = []
    assert find_packed(pick, size, tmp_path / "cache") is None
    packed = pack_frames(pick, size, tmp_path / "cache", told.append)
    assert sum(told) == pick.rows
    rows = np.array([5, 3, 3, pick.rows - 1, 0])
    frames = DecodedFrames(pick, size).rows(rows)
    assert frames.shape == (5, size, size, 3)
    assert np.array_equal(packed.rows(rows), frames)
    assert np.array_equal(frames[1], frames[2])
    found = find_packed(pick, size, tmp_path / "cache")
    assert found is not None
    assert np.array_equal(found.rows(rows), frames)


def test_packed_frames_of_recordings_with_the_same_actions_are_kept_apart(tmp_path: Path):
    """As after recording the same motions with another look."""
    dark = {"pixels": np.zeros((174, 20, 20, 3), np.uint8)}
    paths = write_recording(tmp_path / "one.h5"), write_recording(tmp_path / "two.h5", columns=dark)
    one, two = (open_dataset(path, path.stem) for path in paths)
    assert np.array_equal(one.actions, two.actions, equal_nan=True)
    assert one.identity.fingerprint != two.identity.fingerprint
    pack_frames(one, 16, tmp_path / "cache", lambda done: None)
    assert find_packed(two, 16, tmp_path / "cache") is None
    rows = np.arange(two.rows)
    assert pack_frames(two, 16, tmp_path / "cache", lambda done: None).rows(rows).max() == 0
    assert find_packed(one, 16, tmp_path / "cache").rows(rows).max() > 0
    # The name plays no part.
    assert find_packed(open_dataset(paths[1], "three"), 16, tmp_path / "cache") is not None


@pytest.mark.parametrize("finished", [True, False])
def test_packing_waits_for_another_packer(pick: Dataset, tmp_path: Path, finished: bool):
    cache = tmp_path / "cache"
    expected = pack_frames(pick, 16, tmp_path / "apart", lambda done: None)
    path = cache / expected.path.name
    told: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        with locked(path, busy=None):  # as another process would, for the lock is of the open file
            waiting = pool.submit(pack_frames, pick, 16, cache, told.append)
            time.sleep(0.2)
            assert not waiting.done()
            if finished:
                shutil.copy(expected.path, path)
        packed = waiting.result(timeout=60)
    assert sum(told) == (0 if finished else pick.rows)
    rows = np.arange(pick.rows)
    assert np.array_equal(packed.rows(rows), expected.rows(rows))


def test_frames_of_the_recorded_size_are_untouched(pick: Dataset):
    rows = np.arange(pick.rows)
    assert np.array_equal(DecodedFrames(pick, 20).rows(rows), pick.read("pixels", slice(None)))


def batches_of(pick: Dataset, index: ClipIndex) -> ClipBatches:
    inputs = Inputs(task="generic", frameskip=index.frameskip, actions=ActionStats.fit(pick.actions))
    return ClipBatches(index, DecodedFrames(pick, 20), pick.actions, inputs)


def test_clip_is_every_frame_and_all_actions_between(pick: Dataset):
    batches = batches_of(pick, ClipIndex(np.array([0, 31, 56]), frames=3, frameskip=4))
    clip = batches[[2, 0]]
    pixels = pick.read("pixels", slice(None))
    assert np.array_equal(clip.pixels.numpy(), np.stack([pixels[start : start + 12 : 4] for start in (56, 0)]))
    actions = pick.actions
    finite = actions[np.isfinite(actions).all(axis=1)].astype(np.float64)
    scores = np.nan_to_num((actions - finite.mean(axis=0)) / finite.std(axis=0)).astype(np.float32)
    assert clip.blocks.shape == (2, 3, 12)
    assert np.allclose(clip.blocks.numpy(), np.stack([scores[s : s + 12].reshape(3, 12) for s in (56, 0)]), atol=1e-5)


@pytest.mark.parametrize("workers", [0, 1])
def test_order_of_batches_is_a_function_of_seed_and_step(pick: Dataset, workers: int):
    # As many clips as rows fit, so that two epochs pass in a dozen batches.
    batches = batches_of(pick, ClipIndex(np.arange(0, 29), frames=1, frameskip=1))

    def drawn(seed: int, first: int, number: int, workers: int = 0) -> list[np.ndarray]:
        stream = batches.stream(5, seed, first, workers)
        return [next(stream).pixels.numpy() for _ in range(number)]

    torch.manual_seed(1)
    whole = drawn(seed=3, first=0, number=12)
    before = torch.get_rng_state()
    for first in (0, 4, 5, 11):
        later = drawn(seed=3, first=first, number=12 - first, workers=workers)
        assert all(np.array_equal(a, b) for a, b in zip(later, whole[first:], strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert not np.array_equal(drawn(seed=4, first=0, number=1)[0], whole[0])
    for epoch in (whole[:5], whole[5:10]):
        clips = {frame.tobytes() for batch in epoch for frame in batch}
        assert len(clips) == 25  # each clip once, the rest dropped
    assert not all(np.array_equal(a, b) for a, b in zip(whole[:5], whole[5:10], strict=True))


# The monitor


def tiny_model() -> LeWM:
    torch.manual_seed(0)
    return LeWM(TrainConfig.build(tomllib.loads(TINY), "TINY").model, block_dim=6)


def some_batches(number: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(32, 4, 3, 16, 16, generator=generator), torch.randn(32, 4, 6, generator=generator))
        for _ in range(number)
    ]


def test_measuring_changes_neither_the_model_nor_the_random_numbers():
    model, objective = tiny_model().train(), Objective(ObjectiveConfig(projections=16))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random_before = torch.get_rng_state()
    fresh = recalibrated(model, some_batches(3))
    first = HeldOut.measure(fresh, objective, some_batches(2))
    assert torch.equal(torch.get_rng_state(), random_before)
    assert_equal_tensors(model.state_dict(), before)
    assert model.training
    assert not fresh.training
    torch.manual_seed(99)
    assert HeldOut.measure(fresh, objective, some_batches(2)) == first


def test_recalibrated_statistics_are_those_of_the_batches():
    model = tiny_model()
    batches = some_batches(4)
    fresh = recalibrated(model, batches)
    # In eval mode it now gives what it gives in training mode on the same clips, but for the spread over batches.
    pixels = torch.cat([pixels for pixels, _ in batches])
    with torch.inference_mode():
        lagging, now = model.eval().embed(pixels), fresh.embed(pixels)
        aim = model.train().embed(pixels)
    assert (now - aim).abs().max() < 0.2 * (lagging - aim).abs().max()


@pytest.mark.parametrize(("scale", "collapsed"), [(1.0, False), (1e-3, True)])
def test_shrunken_latents_are_called_collapsed(scale: float, collapsed: bool):
    model = recalibrated(tiny_model(), some_batches(4))
    wide = HeldOut.measure(model, Objective(ObjectiveConfig(projections=16)), some_batches(2))
    with torch.no_grad():
        model.projector.net[-1].weight.mul_(scale / wide.std)
        model.projector.net[-1].bias.zero_()
    held_out = HeldOut.measure(model, Objective(ObjectiveConfig(projections=16)), some_batches(2))
    assert held_out.std == pytest.approx(scale, rel=1e-3)
    assert held_out.collapsed == collapsed
    # Effective rank does not tell: it is scale free.
    assert held_out.effective_rank == pytest.approx(wide.effective_rank, rel=1e-3)
