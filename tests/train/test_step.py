"""Steps of the trainer are those of twenty lines of plain torch."""

import math
import os
import signal
import tomllib
from collections.abc import Callable
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from accelerator import DEVICE, Stream, attached
from lewm_cli.config import ActionStats, Inputs
from lewm_cli.data import ClipBatches, DecodedFrames, open_dataset, split_clips
from lewm_cli.errors import LewmError, StoppedError
from lewm_cli.methods import JEPA, RunCard, TrainConfig
from lewm_cli.model import SIGReg
from lewm_cli.store import RunFiles
from lewm_cli.train import HeldOutMeasured, StepsTaken, Trainer, TrainingData, TrainingEvent, loop
from lewm_cli.train.events import TrainingStopped
from synthetic import TINY, write_recording

STEPS, LR, DECAY, CLIP, LAMBDA = 4, 1e-2, 0.5, 0.05, 0.3
RATES = (LR / 2, LR, LR, LR * (1 + math.cos(math.pi / 4)) / 2)
"""Two steps of warm-up, then a cosine that ends after six."""

SETTINGS = {
    "objective": {"lambda": LAMBDA, "knots": 9, "projections": 16},
    "optimizer": {"lr": LR, "weight_decay": DECAY, "clip": CLIP, "batch_size": 16, "precision": "float32"},
    "schedule": {"stop": f"{STEPS} steps", "decay": "6 steps", "warmup": 1 / 3},
    "monitor": {"every": 1000, "log_every": 1, "clips": 16},
}


@pytest.fixture
def trainer(tmp_path: Path, scramble: Callable, small_card: Callable[[JEPA], RunCard]) -> Trainer:
    """A trainer of a scrambled model, none of whose gradients is zero."""
    dataset = open_dataset(write_recording(tmp_path / "pick.h5"), "robot/pick")
    config = TrainConfig.build(tomllib.loads(TINY) | SETTINGS, "the test")
    split = split_clips(dataset, config.data, config.model.history + 1, config.seed)
    inputs = Inputs(task="generic", frameskip=2, actions=ActionStats.fit(dataset.actions))
    frames = DecodedFrames(dataset, config.model.image_size)
    train, held_out = (ClipBatches(part, frames, dataset.actions, inputs) for part in (split.train, split.held_out))
    model = scramble(JEPA(config.model, inputs.block_dim))
    card = small_card(model).model_copy(update={"inputs": inputs})
    data = TrainingData(train, held_out, len(split.held_out_episodes))
    return Trainer("robot/run", RunFiles(tmp_path / "run"), config, card, data, model, torch.device("cpu"), ())


def plain_steps(model: JEPA, trainer: Trainer) -> tuple[list[float], Tensor]:
    """Train a model on the trainer's clips: prediction + lambda * SIGReg, clipped, by AdamW.

    Returns:
        norms of the gradients, and the least size that the gradient of each parameter had.
    """
    torch.manual_seed(trainer.config.seed)
    clips = trainer.data.train.stream(16, trainer.config.seed, 0, workers=0)
    parameters, norms, sizes = list(model.train().parameters()), [], []
    first, second = ([torch.zeros_like(parameter) for parameter in parameters] for _ in range(2))
    for step, rate in enumerate(RATES, start=1):
        clip = next(clips)
        pixels = (clip.pixels / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
        latents = model.embed(pixels.movedim(-1, 2))
        predicted = model.predict(latents[:, :-1], model.embed_actions(clip.blocks[:, :-1]))
        loss = (predicted - latents[:, 1:]).square().mean() + LAMBDA * SIGReg(9, 16)(latents.transpose(0, 1))
        gradients = torch.autograd.grad(loss, parameters)
        sizes.append(torch.cat([gradient.flatten() for gradient in gradients]).abs())
        norms.append(sizes[-1].norm().item())
        with torch.no_grad():
            for parameter, gradient, mean, square in zip(parameters, gradients, first, second, strict=True):
                clipped = gradient * min(1.0, CLIP / norms[-1])
                parameter -= rate * DECAY * parameter
                mean += 0.1 * (clipped - mean)
                square += 0.001 * (clipped**2 - square)
                parameter -= rate * mean / (1 - 0.9**step) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
    return norms, torch.stack(sizes).amin(dim=0)


def test_steps_are_those_of_plain_torch(trainer: Trainer, scramble: Callable):
    model = scramble(JEPA(trainer.config.model, trainer.card.inputs.block_dim))
    before = nn.utils.parameters_to_vector(model.parameters()).clone()
    told: list[TrainingEvent] = []
    trainer.listeners = (told.append,)
    trainer.run(resume=False)
    norms, sizes = plain_steps(model, trainer)
    taken = [event for event in told if isinstance(event, StepsTaken)]
    assert [event.lr for event in taken] == pytest.approx(RATES)
    assert [event.gradient_norm for event in taken] == pytest.approx(norms, rel=3e-4)
    assert min(norms) > 2 * CLIP
    found, expected = (nn.utils.parameters_to_vector(one.parameters()) for one in (trainer.model, model))
    clear = sizes > 1e-4  # a smaller gradient is half rounding, of which Adam makes a step as large as any other
    assert clear.float().mean() > 0.9
    assert (expected - before)[clear].abs().mean() > LR
    torch.testing.assert_close(found[clear], expected[clear], rtol=0, atol=0.01 * LR)


def test_heads_are_clipped_together_with_the_network(trainer: Trainer):
    tree = tomllib.loads(TINY) | SETTINGS | {"method": "delta", "objective": {}}
    trainer = replace(trainer, config=TrainConfig.build(tree, "the test"))
    trainer.run(resume=False)
    network, heads = (
        nn.utils.get_total_norm(parameter.grad for parameter in part.parameters()).item()
        for part in (trainer.model, trainer.learner.heads)
    )
    assert math.hypot(network, heads) == pytest.approx(CLIP, rel=1e-4)
    assert heads > 0.1 * CLIP


def test_parts_of_a_batch_are_one_step(trainer: Trainer):
    tree = trainer.config.model_dump(by_alias=True)
    config = TrainConfig.build(tree | {"optimizer": tree["optimizer"] | {"accumulate": 4}}, "the test")
    told: list[TrainingEvent] = []
    replace(trainer, config=config, listeners=(told.append,)).run(resume=False)
    taken = [event for event in told if isinstance(event, StepsTaken)]
    assert [event.step for event in taken] == [1, 2, 3, 4]
    assert [event.lr for event in taken] == pytest.approx(RATES)


def test_measuring_and_drawing_take_no_part_in_the_time_of_a_step(trainer: Trainer, monkeypatch: pytest.MonkeyPatch):
    now, told = count(), list[TrainingEvent]()  # whoever asks the clock makes it go on by a second
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(now))

    def listen(event: TrainingEvent) -> None:
        told.append(event)
        if isinstance(event, HeldOutMeasured):
            next(islice(now, 100, 100), None)

    tree = trainer.config.model_dump(by_alias=True)
    config = TrainConfig.build(tree | {"monitor": tree["monitor"] | {"every": 2}}, "the test")
    replace(trainer, config=config, listeners=(listen,)).run(resume=False)
    assert next(now) > 200
    assert max(event.update_seconds for event in told if isinstance(event, StepsTaken)) < 100


def on_a_device(trainer: Trainer, watch: Callable[[StepsTaken], None]) -> None:
    """Trains on the device until the second log line, after step 6."""

    def listen(event: TrainingEvent) -> None:
        if isinstance(event, StepsTaken):
            watch(event)
            if event.step == 6:
                raise LewmError("enough was seen")

    tree = trainer.config.model_dump(by_alias=True, exclude_none=True)
    more = {"schedule": {"stop": "9 steps"}, "monitor": tree["monitor"] | {"log_every": 3}}
    config = TrainConfig.build(tree | more, "the test")
    with pytest.raises(LewmError, match="enough"):
        replace(trainer, config=config, device=DEVICE, listeners=(listen,)).run(resume=False)


def test_the_host_waits_for_a_device_at_log_lines_alone(trainer: Trainer, monkeypatch: pytest.MonkeyPatch):
    waits = []

    def watch(event: StepsTaken) -> None:
        waits.append(list(accelerator.waits))
        accelerator.waits.clear()

    with attached(monkeypatch) as accelerator:
        on_a_device(trainer, watch)
    assert len(waits[0]) > 1, "what is constant is sent in the first step"
    assert waits[1] == ["aten._to_copy.default"], "that is what is logged"


@pytest.mark.parametrize("idle", [True, False])
def test_clips_are_waited_for_only_while_the_device_waits_too(trainer: Trainer, monkeypatch, idle: bool):
    monkeypatch.setattr(Stream, "query", lambda stream: idle)
    waited = []
    with attached(monkeypatch):
        on_a_device(trainer, lambda event: waited.append(event.data_seconds > 0))
    assert waited == [idle, idle]


class Diverging(JEPA):
    """A model whose predictions are infinite from the third step on."""

    steps = 0

    def predict(self, emb: Tensor, act_emb: Tensor) -> Tensor:
        self.steps += 1
        return super().predict(emb, act_emb) * (math.inf if self.steps > 2 else 1)


class Interrupted(JEPA):
    """A model that asks for the end of training in its second step."""

    steps = 0

    def embed(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        self.steps += 1
        if self.steps == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().embed(pixels, proprio)


@pytest.mark.parametrize(
    ("kind", "error", "step", "reason"),
    [
        (Diverging, LewmError, 3, "the loss is no longer finite at step 3"),
        (Interrupted, StoppedError, 2, "stopped after step 2 of 4 with everything saved"),
    ],
)
def test_listeners_are_told_why_training_ended(trainer: Trainer, kind: type[JEPA], error, step: int, reason: str):
    trainer.model.__class__ = kind
    told: list[TrainingEvent] = []

    def closed(event: TrainingEvent) -> None:
        if isinstance(event, TrainingStopped):
            raise LewmError("the disk is full")

    trainer.listeners = (closed, told.append)
    with pytest.raises(error, match=reason):
        trainer.run(resume=False)
    assert isinstance(told[-1], TrainingStopped)
    assert told[-1].step == step
    assert reason in told[-1].reason
