"""Policies train in phases, go on bit for bit wherever they stopped, and say in which phase they are."""

import os
import signal
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from commands import lewm_here
from lewm_cli.config import ActionStats, EvalConfig, Inputs, ScheduleConfig
from lewm_cli.data import ClipBatches, DecodedFrames, open_dataset, split_clips
from lewm_cli.errors import LewmError, StoppedError, UsageError
from lewm_cli.flows.encoder import parents_encoder
from lewm_cli.flows.training_job import Job, require_what_is_learned_from
from lewm_cli.methods import Loss, Provenance, RunCard, TrainConfig
from lewm_cli.methods.gcivl import GCIVL
from lewm_cli.model import Batch, GoalConditionedPolicy, Network
from lewm_cli.store import Home, RunFiles, read_card
from lewm_cli.tasks import GENERIC
from lewm_cli.train import (
    HeldOut,
    JsonLog,
    StepsTaken,
    Trainer,
    TrainingData,
    TrainingEvent,
    all_presets,
    read_log,
)
from lewm_cli.train.batch_size import largest_batch
from lewm_cli.train.events import Noted
from lewm_cli.train.schedule import Schedule
from synthetic import write_recording

pytest_plugins = ("recordings",)

POLICIES = ("gcbc", "gcivl", "gciql")
STEPS, BORDER = 12, 6
SETTINGS = """
seed = 7
data = { workers = 0, frameskip = 2 }
optimizer = { lr = 1e-2, batch_size = 8, precision = "float32" }
schedule = { stop = "12 steps", warmup = 0.1 }
monitor = { every = 4, clips = 16, log_every = 1 }

[model]
image_size = 16
encoder = { patch_size = 8, width = 16, depth = 1, heads = 2, mlp = 32 }
predictor = { depth = 3, heads = 2, head_dim = 8, mlp = 32, dropout = 0.1 }
"""


def configured(method: str, **objective: object) -> TrainConfig:
    return TrainConfig.build(tomllib.loads(SETTINGS) | {"method": method, "objective": objective}, "the test")


def trainer(folder: Path, method: str, *listeners, **objective: object) -> Trainer:
    """Builds what trains a tiny policy on noise; its files are under the folder."""
    dataset = open_dataset(write_recording(folder / "pick.h5"), "robot/pick")
    config = configured(method, **objective)
    split = split_clips(dataset, config.data, config.model.history + 1, config.seed)
    inputs = Inputs(task="generic", frameskip=2, actions=ActionStats.fit(dataset.actions))
    frames = DecodedFrames(dataset, config.model.image_size)
    provenance = Provenance(
        dataset=dataset.identity,
        held_out=tuple(split.held_out_episodes.tolist()),
        trained_on=("0" * 16,),
        train=config,
        step=0,
        device="cpu",
        versions={},
        command="the test",
        finished="2026-01-01T00:00:00Z",
    )
    card = RunCard(method=method, model=config.model, inputs=inputs, provenance=provenance)
    train, held_out = (ClipBatches(part, frames, dataset.actions, inputs) for part in (split.train, split.held_out))
    torch.manual_seed(config.seed)
    model, files = card.new_model(), RunFiles(folder / method)
    data = TrainingData(train, held_out, len(split.held_out_episodes))
    return Trainer(f"robot/{method}", files, config, card, data, model, torch.device("cpu"), listeners)


def stopping_at(step: int) -> Callable[[TrainingEvent], None]:
    """Builds a listener that asks for the end of a training when the step before this one is told."""

    def listen(event: TrainingEvent) -> None:
        if isinstance(event, StepsTaken) and event.step == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    return listen


def state(files: RunFiles) -> dict[str, torch.Tensor]:
    """Everything that training goes on from, by name."""
    saved = torch.load(files.resume, weights_only=True)
    moments = saved["optimizer"]["state"]
    return {
        **{f"heads.{name}": value for name, value in saved["heads"].items()},
        **{f"{number}.{name}": value for number, each in moments.items() for name, value in each.items()},
        **load_file(files.weights),
    }


def differing(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> list[str]:
    assert ours.keys() == theirs.keys()
    return [name for name, value in ours.items() if not torch.equal(value, theirs[name])]


@pytest.mark.parametrize(
    "step", [5, BORDER, 8], ids=["in the value phase", "between the phases", "in the policy phase"]
)
@pytest.mark.parametrize("method", ["gcivl", "gciql"])
def test_training_goes_on_bit_for_bit_across_the_phases(tmp_path: Path, method: str, step: int):
    whole = trainer(tmp_path / "whole", method)
    whole.run(resume=False)
    with pytest.raises(StoppedError, match=f"stopped after step {step} of {STEPS}"):
        trainer(tmp_path / "parted", method, stopping_at(step)).run(resume=False)
    parted = trainer(tmp_path / "parted", method)
    before = state(parted.files)
    torch.rand(3)
    parted.run(resume=True)
    after = state(parted.files)
    assert differing(after, state(whole.files)) == []
    assert before.keys() <= after.keys()


def test_behavior_cloning_goes_on_bit_for_bit(tmp_path: Path):
    whole = trainer(tmp_path / "whole", "gcbc")
    whole.run(resume=False)
    with pytest.raises(StoppedError):
        trainer(tmp_path / "parted", "gcbc", stopping_at(7)).run(resume=False)
    parted = trainer(tmp_path / "parted", "gcbc")
    parted.run(resume=True)
    assert differing(state(parted.files), state(whole.files)) == []


@pytest.mark.parametrize("method", POLICIES)
def test_each_phase_trains_its_own_networks(tmp_path: Path, method: str):
    seen: dict[int, dict[str, torch.Tensor]] = {}

    def keep(event: TrainingEvent) -> None:
        if isinstance(event, StepsTaken):
            everything = {**training.model.state_dict(), **training.learner.heads.state_dict(prefix="heads.")}
            seen[event.step] = {name: value.clone() for name, value in everything.items()}

    training = trainer(tmp_path, method, keep)
    for name, teacher in training.learner.heads.items():
        assert differing(teacher.state_dict(), training.model.get_submodule(f"{name}_predictor").state_dict()) == []
    training.run(resume=False)

    def changed(earlier: int, later: int) -> set[str]:
        parts = {name.partition(".")[0] for name in differing(seen[earlier], seen[later])}
        return parts - {"log_stds"}

    policy = {"action_predictor"}
    values = {"gcbc": set(), "gcivl": {"value_predictor"}, "gciql": {"value_predictor", "critic_predictor"}}[method]
    assert changed(BORDER, STEPS) == policy
    assert changed(1, BORDER) == ({"heads", *values} if values else policy)
    # Teachers follow what is learned, a two-hundredth of the way after every step.
    for part in values:
        name = f"{part}.pos_embedding"
        teacher = f"heads.{name.replace('_predictor', '')}"
        expected = 0.995 * seen[3][teacher] + 0.005 * seen[4][name]
        torch.testing.assert_close(seen[4][teacher], expected, rtol=1e-6, atol=1e-6)


def test_each_phase_has_goals_of_its_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    loss, present = GCIVL.loss, dict[tuple[str, bool], set[bool]]()

    def looked_at(objective: GCIVL, model: Network, heads: nn.ModuleDict, batch: Batch, *generator: object) -> Loss:
        there = (batch.goals == batch.pixels[:, -2]).flatten(1).all(dim=1)
        present.setdefault((batch.phase, model.training), set()).update(there.tolist())
        found = loss(objective, model, heads, batch, *generator)
        assert model.value_predictor.training == (model.training and batch.phase == "value")  # no dropout later
        return found

    monkeypatch.setattr(GCIVL, "loss", looked_at)
    none = {"random": 0, "geometric": 0, "uniform": 0, "current": 0}
    goals = {"value_goals": none | {"current": 1}, "policy_goals": none | {"uniform": 1}}
    trainer(tmp_path, "gcivl", **goals).run(resume=False)
    assert present == {(phase, training): {phase == "value"} for phase in ("value", "policy") for training in (0, 1)}


def test_presets_train_policies_as_stable_worldmodel_does():
    for preset in all_presets():
        if preset.name == "release":
            for method, lr, clip, batch_size, stop in (
                ("gcbc", 1e-4, 0, 128, "100 epochs"),
                ("gcivl", 3e-4, 1, 128, "200 epochs"),
                ("gciql", 3e-4, 1, 32, "200 epochs"),
            ):
                config = preset.config(method)
                optimizer, schedule = config.optimizer, config.schedule
                found = optimizer.lr, optimizer.weight_decay, optimizer.clip, optimizer.clips, schedule.stop
                assert found == (lr, 0.01, clip, batch_size, stop), str(preset)
                falling = ("100 epochs", 0.01) if method == "gcbc" else ("never", 0)
                assert (schedule.decay, schedule.warmup, config.data.frameskip) == (*falling, 1), str(preset)


@pytest.mark.parametrize("method", POLICIES)
def test_losses_and_phases_are_logged_and_policies_published(tmp_path: Path, method: str):
    noted: list[str] = []
    training = trainer(
        tmp_path, method, lambda event: noted.append(event.message) if isinstance(event, Noted) else None
    )
    training.listeners = (*training.listeners, JsonLog(training.files.log))
    monitor = training.config.monitor.model_copy(update={"log_every": 5})
    training.config = training.config.model_copy(update={"monitor": monitor})
    finished = training.run(resume=False)
    history = read_log(training.files.log)
    parts = [tuple(step.parts) for step in history.steps]
    value = {"gcivl": ("value",), "gciql": ("value", "critic")}
    assert [step.step for step in history.steps] == ([4, 5, 8, 10, 12] if method == "gcbc" else [4, 5, 6, 8, 10, 12])
    assert parts == (5 * [("behavior cloning",)] if method == "gcbc" else 3 * [value[method]] + 3 * [("policy",)])
    assert noted == ([] if method == "gcbc" else ["phase value: from step 0 to 6", "phase policy: from step 6 to 12"])
    assert type(finished.held_out) is HeldOut
    assert tuple(finished.held_out.parts) == parts[-1]
    assert finished.held_out.finite
    card = read_card(training.files.weights)
    assert card.unusable is None
    assert card.provenance.phase == ("" if method == "gcbc" else "policy")
    home = Home(tmp_path, (tmp_path,))
    assert parents_encoder(home, method, "robot/pick", method) == card.model.encoder
    for other in {*POLICIES} - {method}:  # of the same sizes, but not of the same parts
        with pytest.raises(LewmError, match=f"another network \\({method}\\), whose weights do not fit {other}; take"):
            parents_encoder(home, method, "robot/pick", other)
    policy = card.new_model()
    policy.load_state_dict(load_file(training.files.weights), strict=True)
    assert isinstance(policy, GoalConditionedPolicy)
    assert not any(name.startswith(("heads", "teacher")) for name in policy.state_dict())
    frames = torch.randn(2, 3, 16, 16)
    assert policy.eval().act(frames, frames.flip(0)).shape == (2, 6)
    assert not torch.allclose(policy.act(frames, frames.flip(0)), policy.act(frames, frames))


def test_state_of_the_value_phase_says_that_its_policy_is_not_trained(tmp_path: Path):
    noted: list[str] = []
    training = trainer(tmp_path, "gcivl", stopping_at(BORDER))
    training.listeners = (
        *training.listeners,
        lambda event: noted.append(event.message) if isinstance(event, Noted) else None,
    )
    training.config = training.config.model_copy(update={"eval": EvalConfig(every=2)})
    training.evaluator = lambda *_: pytest.fail("it was evaluated")
    with pytest.raises(StoppedError):
        training.run(resume=False)
    clause = "its policy is not trained yet: step {} is of the value phase"
    assert noted[1:] == [f"not evaluated at step {step}: {clause.format(step)}" for step in (2, 4)]
    assert read_card(training.files.weights).unusable == clause.format(BORDER)


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ({"value_share": 0}, "value_share 0 leaves no value to learn the policy from: the value is learned first"),
        ({"value_share": 1}, "value_share 1 leaves no steps for the policy: the value is learned first"),
        ({"lambda": 0.1}, "objective.lambda means nothing to the method gciql"),
        ({"straightness": 0.1}, "objective.straightness means nothing to the method gciql"),
        ({"value_goals": {"random": 0.5}}, "must add up to 1, and 0.5 [+] 0.5 [+] 0 [+] 0.2 is 1.2"),
    ],
)
def test_settings_that_mean_nothing_are_refused(objective: dict, said: str):
    with pytest.raises(UsageError, match=said):
        configured("gciql", **objective)


def test_phases_have_a_step_each_at_least():
    def phases(stop: str, share: float) -> list[str]:
        config = configured("gcivl", value_share=share)
        config = config.model_copy(update={"schedule": ScheduleConfig(stop=stop)})
        schedule = Schedule.of(config, 64)
        return [schedule.phase(step).name for step in range(schedule.total_steps)]

    assert phases("10 steps", 0.3) == 3 * ["value"] + 7 * ["policy"]
    assert phases("2 epochs", 0.5) == 8 * ["value"] + 8 * ["policy"]
    assert phases("3 steps", 0.01) == ["value", "policy", "policy"]
    assert phases("3 steps", 0.99) == ["value", "value", "policy"]
    with pytest.raises(UsageError, match=r"trained in phases \(value and policy\), and 1 step is too short for all"):
        phases("1 step", 0.5)


@pytest.mark.parametrize("method", POLICIES)
def test_memory_of_a_step_is_tried_with_goals(tmp_path: Path, method: str):
    config = configured(method)
    inputs = Inputs(task="generic", frameskip=2, actions=ActionStats(mean=(0,), std=(1,)))
    assert largest_batch(config, inputs, torch.device("cpu"), most=8) == 8


def test_weights_of_another_kind_of_policy_are_refused(robot: Path):
    trainer(robot / "robot", "gcbc").run(resume=False)
    (robot / "settings.toml").write_text(SETTINGS)
    line = (
        "train",
        "robot/pick",
        "--config",
        robot / "settings.toml",
        "--method",
        "gcivl",
        "--init-from",
        "robot/gcbc",
    )
    said = "robot/gcbc has another network (gcbc), whose weights do not fit gcivl; take its encoder alone: "
    for option in ("--quiet", "--dry-run"):
        assert said in lewm_here(robot, *line, "--init-from", "robot/gcbc", option).sentence()


def test_constant_actions_are_refused(robot: Path):
    write_recording(robot / "robot" / "still.h5", columns={"action": np.ones((174, 3), np.float32)})
    dataset = open_dataset(robot / "robot" / "still.h5", "robot/still")
    for method, terms in (("gcbc", "behavior cloning"), ("gcivl", "policy"), ("gciql", "critic, policy")):
        job = Job("robot/still", RunFiles(robot / "still"), GENERIC, dataset, configured(method))
        with pytest.raises(LewmError, match=f"never change, and {method} learns from them \\({terms}\\)"):
            require_what_is_learned_from(job)
