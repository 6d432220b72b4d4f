"""Measures surprise along recorded episodes, and calibrates an alarm on some."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from lewm_cli.data import Dataset, Frames
from lewm_cli.errors import LewmError
from lewm_cli.heads import model_steps, untrained_reference
from lewm_cli.statistics import Rate
from lewm_cli.store import Run
from lewm_cli.surprise.alarm import Alarm, calibrating, conformal_threshold, find_events
from lewm_cli.surprise.curves import detect, model_curve
from lewm_cli.surprise.frame_ranges import FrameRanges
from lewm_cli.surprise.surprise_result import BesideRun, EpisodeCurves, SurpriseResult


def measure_surprise(
    run: Run,
    dataset: Dataset,
    frames: Frames,
    episodes: Sequence[int],
    *,
    held_out: bool,
    seed: int,
    advance: Callable[[int], None],
    alarm: Alarm | None = None,
    horizon: int = 1,
    beside: Run | None = None,
) -> SurpriseResult:
    """Measures every model step of some episodes, the first one included.

    Args:
        frames: of the recording, at the model's image size.
        held_out: the run was trained on none of them.
        seed: of the untrained model.
        alarm: of these weights; its threshold makes events. It is one of one step ahead.
        horizon: model steps to look ahead.
        beside: another run that takes the same inputs, as one more detector.

    Raises:
        LewmError: no episode is long enough for one step.
    """
    begun, skip = time.monotonic(), run.card.inputs.frameskip
    long_enough = [int(episode) for episode in episodes if model_steps(dataset.lengths[episode], skip) > 0]
    if not long_enough:
        raise LewmError(
            f"{dataset.path}: the longest episode has {dataset.lengths[list(episodes)].max()} rows, but one step of "
            f"{run.name} needs {skip + 1}: two frames, and the {skip} actions between them"
        )
    proprio, reference = run.recorded_proprio(dataset), untrained_reference(run, dataset, frames, seed)
    seconds_per_row = None if dataset.fps is None else 1 / dataset.fps
    found, events = [], []
    for episode in long_enough:
        curves = detect(run, reference, *_seen(dataset, frames, proprio, episode, skip), beside=beside, horizon=horizon)
        found.append(EpisodeCurves(episode=episode, curves=curves))
        if alarm is not None:
            events += find_events(episode, curves["model"], alarm.threshold, skip, seconds_per_row)
        advance(1)
    return SurpriseResult.of(
        run,
        dataset,
        held_out=held_out,
        begun=begun,
        frameskip=skip,
        horizon=horizon,
        seed=seed,
        beside=BesideRun(run=beside.name, weights_sha256=beside.sha256) if beside else None,
        episodes=tuple(found),
        left_out=tuple(sorted({int(episode) for episode in episodes} - set(long_enough))),
        seconds_per_row=seconds_per_row,
        threshold=None if alarm is None else alarm.used,
        events=tuple(events),
    )


def measure_alarm(
    run: Run,
    dataset: Dataset,
    frames: Frames,
    episodes: Sequence[int],
    false_alarms: float,
    *,
    held_out: bool,
    seed: int,
    advance: Callable[[int], None],
) -> Alarm:
    """Calibrates thresholds of surprise and of single frames on some undisturbed episodes, and tries them on others.

    The arguments are those of `measure_surprise`, and:

    Args:
        episodes: in the order of `draw_calibrating`; those in which nothing is known are left out.
        false_alarms: the rate, between 0 and 1.
        seed: of that draw.

    Raises:
        TooFewError: too few episodes for the rate.
    """
    begun, skip = time.monotonic(), run.card.inputs.frameskip
    proprio = run.recorded_proprio(dataset)
    curves: dict[int, np.ndarray] = {}
    ranges = FrameRanges(run.card.model.image_size)
    for episode in map(int, episodes):
        seen = _seen(dataset, frames, proprio, episode, skip)
        curve = np.array(model_curve(run, *seen), float)
        if np.isfinite(curve).any():
            curves[episode] = curve[np.isfinite(curve)]
            ranges.add(episode, seen[0])
        advance(1)
    usable, count = list(curves), calibrating(len(curves), false_alarms)
    calibrated, tried = tuple(sorted(usable[:count])), tuple(sorted(usable[count:]))
    threshold = conformal_threshold([curves[episode] for episode in calibrated], false_alarms)
    above = [curves[episode] > threshold for episode in tried]
    return Alarm.of(
        run,
        dataset,
        held_out=held_out,
        begun=begun,
        false_alarms=false_alarms,
        threshold=threshold,
        frameskip=skip,
        seed=seed,
        calibrated=calibrated,
        tried=tried,
        measured=Rate.of(np.concatenate(above), np.repeat(tried, [len(one) for one in above])),
        with_event=Rate.of(np.array([one.any() for one in above]), np.array(tried)),
        frames=ranges.alarm(calibrated, tried, false_alarms),
    )


def _seen(
    dataset: Dataset, frames: Frames, proprio: np.ndarray | None, episode: int, skip: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Every skip-th frame of an episode, the actions between them, and proprioception beside them, if any."""
    first, steps = dataset.offsets[episode], model_steps(dataset.lengths[episode], skip)
    rows = first + skip * np.arange(steps + 1)
    beside = None if proprio is None else proprio[rows]
    return frames.rows(rows), dataset.actions[first : first + skip * steps], beside
