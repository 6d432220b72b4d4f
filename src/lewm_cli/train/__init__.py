"""The training loop: clips in, a run on disk out, typed events to listeners."""

from lewm_cli.train.events import (
    HeldOutMeasured,
    Listener,
    Saved,
    StepsTaken,
    TrainingEvent,
    TrainingFinished,
    TrainingStarted,
    TrainingStopped,
    Warned,
)
from lewm_cli.train.log import JsonLog, TrainingHistory, read_log
from lewm_cli.train.loop import Trainer, TrainingData
from lewm_cli.train.monitor import HeldOut
from lewm_cli.train.preset import Preset, all_presets, find_preset, task_preset
from lewm_cli.train.run_details import RunDetails, run_details
from lewm_cli.train.schedule import Schedule

__all__ = [
    "HeldOut",
    "HeldOutMeasured",
    "JsonLog",
    "Listener",
    "Preset",
    "RunDetails",
    "Saved",
    "Schedule",
    "StepsTaken",
    "Trainer",
    "TrainingData",
    "TrainingEvent",
    "TrainingFinished",
    "TrainingHistory",
    "TrainingStarted",
    "TrainingStopped",
    "Warned",
    "all_presets",
    "find_preset",
    "read_log",
    "run_details",
    "task_preset",
]
