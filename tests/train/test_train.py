"""What `lewm train` promises: the same numbers whatever interrupts it, the last good state kept, and plain words."""

import json
import os
import random
import shlex
import shutil
import signal
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from commands import Done, alive, descendants, ended, left_behind, lewm, lewm_here, running, wait_until
from lewm_cli.config import DinoWMNopropConfig
from lewm_cli.data import (
    open_dataset,
    split_clips,
)
from lewm_cli.errors import LewmError
from lewm_cli.methods import JEPA, METHODS, Loss, TrainConfig
from lewm_cli.model import Batch
from lewm_cli.store import Home, RunFiles, load_run, read_card
from lewm_cli.train import HeldOut, HeldOutLatents, JsonLog, Warned
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
    served = ("--set", f"data.workers={workers}", "--set", "data.in_memory=false")
    with running(robot, *train(tiny, "--steps", STEPS, *served)) as process:
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_configuration_file_rebuilds_the_configuration(uninterrupted: Path):
    files = run_files(uninterrupted)
    rebuilt = TrainConfig.build(tomllib.loads(files.config.read_text(encoding="utf-8")), "config.toml")
    assert rebuilt == read_card(files.weights).provenance.train


@pytest.mark.slow
def test_no_run_has_a_folder_of_its_own_name(uninterrupted: Path):
    # stable_worldmodel would look only inside it.
    assert not (uninterrupted / RUN).exists()


@pytest.mark.slow
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
    assert done.err.splitlines()[-1] == f"next: lewm eval {RUN}"
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
        assert card.inputs.actions == before[parent].inputs.actions
        if what == "place":  # whose actions are others
            assert card.inputs.bounds != before[parent].inputs.bounds
        else:
            assert card.inputs == before[RUN].inputs
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
    steep = ("--steps", 120, "--set", "optimizer.lr=1e-2", "--overwrite")
    alone = lewm_here(robot, *train(tiny, "--method", "prediction", *steep))
    assert "nothing in this objective keeps latents apart, others do: lewm methods" in alone.err
    healthy = lewm_here(robot, *train(tiny, "--steps", 40, "--overwrite"))
    assert "collapsed" not in healthy.err.replace("(collapsed", "")


def test_several_recordings_of_a_task_are_listed(tmp_path: Path):
    for name in ("one", "two"):
        write_recording(tmp_path / "tworoom" / f"{name}.h5", dims=2, task="tworoom")
    said = lewm_here(tmp_path, "train", "tworoom").sentence()
    assert "tworoom/one, tworoom/two" in said
    assert "--dataset" in said


@pytest.mark.slow
def test_recording_without_a_simulator_is_measured_on_what_was_held_out(uninterrupted: Path):
    assert read_card(run_files(uninterrupted).weights).inputs.task == "generic"
    assert read_card(run_files(uninterrupted).weights).inputs.actions.dim == 3
    assert "starts in 2 episodes are needed" in lewm_here(uninterrupted, "eval", RUN).sentence()


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


# The monitor


def tiny_model() -> JEPA:
    torch.manual_seed(0)
    return JEPA(TrainConfig.build(tomllib.loads(TINY), "TINY").model, 6)


def measure(model: JEPA) -> HeldOutLatents:
    objective = TrainConfig.build(tomllib.loads(TINY), "TINY").objective
    measured, _ = HeldOut.measure(objective, model, torch.nn.ModuleDict(), some_batches(2))
    assert isinstance(measured, HeldOutLatents)
    return measured


def some_batches(number: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    return [
        Batch(torch.randn(32, 4, 3, 16, 16, generator=generator), torch.randn(32, 4, 6, generator=generator))
        for _ in range(number)
    ]


def test_measuring_changes_neither_the_model_nor_the_random_numbers():
    model = tiny_model().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random_before = torch.get_rng_state()
    fresh = model.published(some_batches(3))
    first = measure(fresh)
    assert torch.equal(torch.get_rng_state(), random_before)
    assert_equal_tensors(model.state_dict(), before)
    assert model.training
    assert not fresh.training
    torch.manual_seed(99)
    assert measure(fresh) == first


def test_recalibrated_statistics_are_those_of_the_batches():
    model = tiny_model()
    batches = some_batches(4)
    fresh = model.published(batches)
    # In eval mode it now gives what it gives in training mode on the same clips, but for the spread over batches.
    pixels = torch.cat([batch.pixels for batch in batches])
    with torch.inference_mode():
        lagging, now = model.eval().embed(pixels), fresh.embed(pixels)
        aim = model.train().embed(pixels)
    assert (now - aim).abs().max() < 0.2 * (lagging - aim).abs().max()


@pytest.mark.parametrize(("scale", "collapsed"), [(1.0, False), (1e-3, True)])
def test_shrunken_latents_are_called_collapsed(scale: float, collapsed: bool):
    model = tiny_model().published(some_batches(4))
    wide = measure(model)
    with torch.no_grad():
        model.projector.net[-1].weight.mul_(scale / wide.std)
        model.projector.net[-1].bias.zero_()
    held_out = measure(model)
    assert held_out.std == pytest.approx(scale, rel=1e-3)
    assert held_out.collapsed == collapsed
    # Effective rank does not tell: it is scale free.
    assert held_out.effective_rank == pytest.approx(wide.effective_rank, rel=1e-3)


@pytest.mark.parametrize(
    ("std", "share", "collapsed"), [(0.09, 0.51, True), (0.11, 0.51, False), (0.09, 0.49, False), (0.0, 1.0, True)]
)
def test_small_latents_are_called_collapsed_only_where_little_is_predicted(std: float, share: float, collapsed: bool):
    held_out = HeldOutLatents({}, share * std**2, std**2, std, std, effective_rank=3.0, cosine=0.9)
    assert held_out.collapsed == collapsed


class Copied:
    """An objective whose latents are what stands in the batch, and whose predictions repeat the last one."""

    def loss(self, model: object, heads: object, batch: Batch, generator: torch.Generator) -> Loss:
        zero = torch.zeros(())
        return Loss(zero, {"prediction": zero}, batch.blocks, batch.blocks[:, :-1])


def test_clips_of_two_frames_have_no_straightness():
    batch = Batch(torch.empty(9), torch.randn(9, 2, 4, generator=torch.Generator().manual_seed(0)))
    held_out, _ = HeldOut.measure(Copied(), tiny_model(), torch.nn.ModuleDict(), [batch])
    assert held_out.straightness is None
    assert held_out.finite


@pytest.mark.parametrize("dimensions", [5, 300])
def test_latents_are_measured_over_all_batches_also_where_they_have_more_dimensions_than_there_are_clips(
    dimensions: int,
):
    generator = torch.Generator().manual_seed(0)
    scale = torch.linspace(0.1, 2, dimensions)
    batches = [Batch(torch.empty(n), torch.randn(n, 4, dimensions, generator=generator) * scale) for n in (12, 12, 7)]
    held_out, first = HeldOut.measure(Copied(), tiny_model(), torch.nn.ModuleDict(), batches)
    assert isinstance(held_out, HeldOutLatents)
    every = torch.cat([batch.blocks for batch in batches]).double().numpy()
    assert np.array_equal(first.numpy(), every[:, 0])
    assert held_out.prediction == held_out.copying == pytest.approx(np.square(np.diff(every, axis=1)).mean(), rel=1e-5)
    singular = np.linalg.svd(every[:, 0] - every[:, 0].mean(axis=0), compute_uv=False)
    weights = singular[singular > 1e-9] / singular.sum()
    assert held_out.effective_rank == pytest.approx(np.exp(-(weights * np.log(weights)).sum()), rel=1e-6)
    steps = np.diff(every, axis=1)
    units = steps / np.linalg.norm(steps, axis=2, keepdims=True)
    assert held_out.straightness == pytest.approx((units[:, 1:] * units[:, :-1]).sum(axis=2).mean(), rel=1e-5)
    units = every[:, 0] / np.linalg.norm(every[:, 0], axis=1, keepdims=True)
    cosines = units @ units.T
    assert held_out.cosine == pytest.approx((cosines.sum() - 31) / (31 * 30), abs=1e-9)


@pytest.mark.parametrize(("spread", "collapsed"), [(0.05, False), (1e-4, True)])
def test_frozen_tokens_are_collapsed_only_where_they_tell_nothing_apart(spread: float, collapsed: bool):
    latents = 1 + spread * torch.randn(32, 4, 50, generator=torch.Generator().manual_seed(0))
    sizes = DinoWMNopropConfig(image_size=16, encoder={"patch_size": 8, "width": 16, "depth": 1, "heads": 2, "mlp": 32})
    frozen = METHODS["dinowm_noprop"].network(sizes, 4)
    for model, alike in ((frozen, collapsed), (tiny_model(), True)):
        held_out, _ = HeldOut.measure(Copied(), model, torch.nn.ModuleDict(), [Batch(torch.empty(32), latents)])
        assert held_out.std < 0.1  # of latents that are trained this says that they have shrunk together
        assert held_out.collapsed is alike
        assert ("mean cosine" in held_out.spread) is (model is frozen)
