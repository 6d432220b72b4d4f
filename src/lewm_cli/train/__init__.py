"""The training loop: clips in, a run on disk out, typed events to listeners."""

from typing import TYPE_CHECKING

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.train.batch_size import largest_batch
    from lewm_cli.train.chosen_settings import ChosenSettings, choose_settings, parents_settings
    from lewm_cli.train.encoded_frames import EncodedFrames, belong_encoded, encoded_bytes
    from lewm_cli.train.evaluated import Evaluation, Evaluator
    from lewm_cli.train.events import (
        HeldOutMeasured,
        LatentsMeasured,
        Listener,
        Noted,
        Saved,
        StepsTaken,
        SuccessMeasured,
        TrainingEvent,
        TrainingFinished,
        TrainingStarted,
        TrainingStopped,
        Warned,
    )
    from lewm_cli.train.forecast import Forecast, measure_forecast
    from lewm_cli.train.log import JsonLog, TrainingHistory, read_log
    from lewm_cli.train.logged_numbers import Curve, numbers, read_curves
    from lewm_cli.train.loop import Trainer, TrainingData
    from lewm_cli.train.monitor import HeldOut, HeldOutLatents
    from lewm_cli.train.preset import Preset, all_presets, find_preset, task_preset
    from lewm_cli.train.run_details import RunDetails
else:
    __getattr__ = lazy_names(__name__)
