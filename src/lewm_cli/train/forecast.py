"""The forecast of a training: what it would take, measured by a few of its steps; nothing is written."""

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from lewm_cli.data import Clip, ClipBatches
from lewm_cli.errors import LewmError
from lewm_cli.methods import Phase, RunCard, TrainConfig
from lewm_cli.train.encoded_frames import EncodedFrames
from lewm_cli.train.learner import Learner
from lewm_cli.train.loop import CALIBRATION_CLIPS
from lewm_cli.train.schedule import Schedule
from lewm_cli.train.step_memory import MEASURED, StepMemory
from lewm_cli.workers import available_cores

SECONDS = 10.0
"""Time that steps are measured for."""

FEWEST, MOST = 2, 100
"""Steps that are measured, after a first one."""

READ_FRAMES = 256
"""Frames that are read to know how long reading all of them takes."""

LOG_LINE = 400
"""Bytes, about."""


@dataclass(frozen=True)
class PhaseTime:
    """Seconds of a step in one phase of a training, means over the steps that were measured.

    Args:
        phase: its name; empty if it is the only one.
        steps: in the training.
        measured: of these.
        data: waiting for clips; 0 where frames would be read into memory first.
        update: computing.
    """

    phase: str
    steps: int
    measured: int
    data: float
    update: float

    @property
    def seconds(self) -> float:
        """Seconds of the whole phase."""
        return self.steps * (self.data + self.update)


@dataclass(frozen=True)
class Duration:
    """Seconds of the whole training, and its parts; evaluations in the simulator come on top."""

    whole: float
    reading: float
    steps: float
    held_out: float


@dataclass(frozen=True)
class DiskSpace:
    """Bytes that are written: weights in all their forms, resume state, log; and those in all."""

    whole: int
    weights: int
    resume: int
    log: int


@dataclass(frozen=True)
class Forecast:
    """A training that was not done.

    Args:
        run: the name that it would have now.
        parameters: of the network.
        loss_parameters: of what only the loss needs.
        batches: bytes of memory by batch size, that of the configuration and others.
        free: bytes of disk.
        config: as it is settled.
    """

    run: str
    dataset: str
    device: str
    parameters: int
    loss_parameters: int
    train_clips: int
    held_out_clips: int
    steps: int
    epochs: float
    memory: StepMemory
    batches: dict[int, int]
    phases: tuple[PhaseTime, ...]
    duration: Duration
    disk: DiskSpace
    free: int
    config: TrainConfig


def measure_forecast(
    run: str,
    config: TrainConfig,
    card: RunCard,
    clips: ClipBatches,
    held_out_clips: int,
    device: torch.device,
    *,
    kept: int,
    free: int,
    encoded: EncodedFrames | None = None,
) -> Forecast:
    """Take a few steps of a training, of a model that is thrown away.

    Args:
        clips: to train on.
        kept: bytes of frames, or of their tokens, that would be read into memory before it; 0 if they would not.
        free: bytes of disk.
        encoded: the frames whose rows clips have, none of them encoded yet; None where clips have frames.

    Raises:
        LewmError: memory does not suffice; the error names the batch size that fits.
    """
    assert card.provenance is not None
    schedule = Schedule.of(config, len(clips))
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    learner = Learner(config, card.inputs, card.new_model(), device)
    rows, few = len(clips.actions), [number % len(clips) for number in range(MEASURED[1] * config.optimizer.accumulate)]
    learner.encoded = encoded
    read = _read_seconds(clips, rows, encoded) if kept else 0.0  # first, for what it takes stays with the process
    memory = StepMemory.measure(learner, lambda phase: _seen(clips.toward(phase.goals)[few], encoded), kept)
    batch, steps = config.optimizer.clips, schedule.total_steps
    _require_room(batch, memory)
    phases = tuple(
        _time_phase(phase, learner, clips, config, schedule, in_memory=kept > 0) for phase in schedule.phases
    )
    computed, held_out = sum(phase.seconds for phase in phases), _held_out_seconds(config, phases)
    return Forecast(
        run=run,
        dataset=card.provenance.dataset.name,
        device=str(device),
        parameters=learner.model.parameter_count,
        loss_parameters=sum(weights.numel() for weights in learner.heads.parameters()),
        train_clips=len(clips),
        held_out_clips=held_out_clips,
        steps=steps,
        epochs=steps * batch / len(clips),
        memory=memory,
        batches={size: memory.of(size) for size in sorted({max(2, batch // 4), max(2, batch // 2), batch, 2 * batch})},
        phases=phases,
        duration=Duration(read + computed + held_out, read, computed, held_out),
        disk=_disk_space(learner, config, card, steps),
        free=free,
        config=config,
    )


def _require_room(batch: int, memory: StepMemory) -> None:
    needed, free, largest = memory.of(batch), memory.available, memory.largest
    if needed <= free:
        return
    fits = 1 << (largest.bit_length() - 1) if largest else 0
    instead = f"{fits} fit: --batch-size {fits}" if fits >= 2 else "not even 2 fit: lower model.image_size"
    raise LewmError(
        f"a batch of {batch} clips needs {needed / 1e9:.1f} GB of memory, and {memory.device} has {free / 1e9:.1f} GB "
        f"for it; {instead}"
    )


def _time_phase(
    phase: Phase, learner: Learner, clips: ClipBatches, config: TrainConfig, schedule: Schedule, *, in_memory: bool
) -> PhaseTime:
    """Take steps for some seconds, the first of which is not counted, on clips that are served as in training.

    Args:
        in_memory: there is no wait to measure, for frames would be read before.
    """
    workers, learner.phase = 0 if in_memory else min(config.data.workers, available_cores()), phase
    first = schedule.begin(phase)
    with closing(clips.toward(phase.goals).stream(config.optimizer.clips, config.seed, 0, workers)) as stream:
        batches: Iterator[Clip] = itertools.cycle([_seen(next(stream), learner.encoded)]) if in_memory else stream
        _time_step(learner, batches, schedule.lr(first))
        begun, times = time.perf_counter(), list[tuple[float, float]]()
        while len(times) < FEWEST or (len(times) < MOST and time.perf_counter() - begun < SECONDS):
            times.append(_time_step(learner, batches, schedule.lr(first)))
    waited, computed = np.mean(times, axis=0).tolist()
    return PhaseTime(phase.name, schedule.end(phase) - first, len(times), 0.0 if in_memory else waited, computed)


def _time_step(learner: Learner, batches: Iterator[Clip], lr: float) -> tuple[float, float]:
    """Seconds that one step waits and computes."""
    asked = time.perf_counter()
    clip = next(batches)
    got = time.perf_counter()
    _, norm = learner.step(clip, lr)
    norm.item()  # the device may still compute
    return got - asked, time.perf_counter() - got


def _seen(clip: Clip, encoded: EncodedFrames | None) -> Clip:
    """The same clip, its frames encoded."""
    if encoded:
        rows = [part.numpy().ravel() for part in (clip.pixels, clip.goals) if part is not None]
        encoded.fill(np.unique(np.concatenate(rows)))
    return clip


def _read_seconds(clips: ClipBatches, rows: int, encoded: EncodedFrames | None) -> float:
    """Seconds in which all rows are read, and encoded, from the time that the first ones take."""
    first = np.arange(min(READ_FRAMES, rows))
    begun = time.perf_counter()
    if encoded:
        encoded.fill(first)
        encoded.tokens[0].cpu()  # a GPU goes on computing after it was asked to
    else:
        clips.frames.rows(first)
    return (time.perf_counter() - begun) * rows / len(first)


def _held_out_seconds(config: TrainConfig, phases: Sequence[PhaseTime]) -> float:
    """Seconds of all measurements of held-out clips; to look at a clip takes a third of training on it."""
    batches = (CALIBRATION_CLIPS + config.monitor.clips) / config.optimizer.clips
    return sum(-(-phase.steps // config.monitor.every) * batches * phase.update / 3 for phase in phases)


def _disk_space(learner: Learner, config: TrainConfig, card: RunCard, steps: int) -> DiskSpace:
    network, heads = (sum(each.nbytes for each in one.state_dict().values()) for one in (learner.model, learner.heads))
    header, best = len(card.model_dump_json()), bool(config.eval.every)
    weights = (3 + best) * network + (1 + best) * header  # two forms of them are derived for other tools
    resume = network + heads + 2 * sum(each.nbytes for each in learner.trained)
    log = round(LOG_LINE * (steps / config.monitor.log_every + 2 * steps / config.monitor.every))
    return DiskSpace(weights + resume + log, weights, resume, log)
