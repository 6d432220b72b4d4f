"""The events of a training run, passed to listeners; training itself prints nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from lewm_cli.statistics import Estimate, Rate
from lewm_cli.train.monitor import HeldOut, HeldOutLatents


@dataclass(frozen=True)
class TrainingStarted:
    """Training begins.

    Args:
        parameters: of the network, without what only the loss needs.
        first_step: not 0 when a run is resumed.
    """

    run: str
    device: str
    parameters: int
    train_clips: int
    held_out_clips: int
    held_out_episodes: int
    first_step: int
    total_steps: int


@dataclass(frozen=True)
class StepsTaken:
    """Means over the steps since the last such event.

    Args:
        step: optimizer steps taken so far.
        loss: that is minimized, dimensionless.
        parts: of the loss, before they are weighted, by name.
        lr: learning rate of the last step.
        gradient_norm: before clipping.
        data_seconds: per step, waiting for clips.
        update_seconds: per step, computing.
        clips_per_second: trained on.
        eta_seconds: until the last step, at this speed.
        process_memory: bytes of main memory that this process has taken at most.
        device_memory: the same of a CUDA device, by tensors.
        phase: of the training, empty where there is one only, and in logs of earlier versions.
    """

    step: int
    total_steps: int
    loss: float
    parts: dict[str, float]
    lr: float
    gradient_norm: float
    data_seconds: float
    update_seconds: float
    clips_per_second: float
    eta_seconds: float
    process_memory: int | None = None
    device_memory: int | None = None
    phase: str = ""


@dataclass(frozen=True)
class HeldOutMeasured:
    """The held-out clips were measured."""

    step: int
    held_out: Annotated[HeldOutLatents | HeldOut, Field(union_mode="left_to_right")]


@dataclass(frozen=True)
class SuccessMeasured:
    """The weights of a step were evaluated between validation pairs.

    Args:
        random: of random actions on the same pairs.
        positions: R2 of each, by a linear probe on latents of held-out frames; empty where none is recorded.
        seconds: that it took.
        best: no state before had more success, so this one is kept.
    """

    step: int
    success: Rate
    random: Rate
    positions: dict[str, Estimate]
    seconds: float
    best: bool


@dataclass(frozen=True)
class Noted:
    """Something for the user to know, in plain words, that is nothing to worry about."""

    step: int
    message: str


@dataclass(frozen=True)
class LatentsMeasured:
    """The latents of that measurement, for pictures; the log leaves them out.

    Args:
        latents: (N, D) of the first frames of N held-out clips.
        rows: (N,) where these frames stand in the recording.
    """

    step: int
    latents: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Warned:
    """A warning for the user, in plain words."""

    step: int
    message: str


@dataclass(frozen=True)
class Saved:
    """Weights and resume state are on disk."""

    step: int
    path: str


@dataclass(frozen=True)
class Best:
    """The state with most success on the validation pairs; of those with as much the latest."""

    run: str
    step: int
    success: Rate


@dataclass(frozen=True)
class TrainingFinished:
    """Training ended with its last step; `best` is None if nothing was evaluated on the way."""

    run: str
    task: str
    step: int
    seconds: float
    held_out: HeldOut
    path: str
    best: Best | None = None


@dataclass(frozen=True)
class TrainingStopped:
    """Training ended before its last step: by Ctrl-C, because it diverged, or by any other error.

    Args:
        step: optimizer steps taken.
        reason: in a sentence.
    """

    step: int
    reason: str


TrainingEvent = (
    TrainingStarted
    | StepsTaken
    | HeldOutMeasured
    | SuccessMeasured
    | LatentsMeasured
    | Noted
    | Warned
    | Saved
    | TrainingFinished
    | TrainingStopped
)
Listener = Callable[[TrainingEvent], None]
"""Hears every event; `train.log.JsonLog` is one. `flows.train` joins them."""
