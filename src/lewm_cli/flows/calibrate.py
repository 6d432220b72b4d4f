"""Calibrate the threshold above which a run's surprise is an event, and keep it beside the run."""

import math

import numpy as np

from lewm_cli.data import Dataset, DecodedFrames, require_usable
from lewm_cli.errors import LewmError
from lewm_cli.flows import Progress
from lewm_cli.flows.results import keep_result, stored_results
from lewm_cli.flows.unseen import find_recording, is_unseen
from lewm_cli.store import Home, Run, Say
from lewm_cli.suggestion import command
from lewm_cli.surprise import Alarm, TooFewError, draw_calibrating, measure_alarm, needed_episodes
from lewm_cli.tasks import GENERIC, find_task


def newest_alarm(home: Home, run: Run) -> Alarm | None:
    """The newest alarm that was calibrated for a run's present weights; None if there is none."""
    return stored_results(home, run, ["alarm"]).newest(Alarm)


def calibrated_alarm(
    home: Home, run: Run, say: Say, progress: Progress, *, false_alarms: float, calibrate: str | None, seed: int
) -> Alarm:
    """Finds the newest stored alarm of this rate, or calibrates one and stores it under `<run>.run/results/`.

    Args:
        calibrate: recording whose episodes it is calibrated on, and only those; any stored alarm of the rate, else the
            episodes that the run held out of its training, if not given.
        seed: of the draw of episodes; another one gives another alarm.

    Raises:
        LewmError: no such recording, one that the run was trained on, or one with too few episodes.
    """
    stored = stored_results(home, run, ["alarm"]).of(Alarm)
    of_rate = [one for one in stored if (one.false_alarms, one.seed) == (false_alarms, seed)]
    if of_rate and calibrate is None:
        return of_rate[-1]
    task = find_task(run.card.inputs.task) or GENERIC
    dataset = find_recording(home, run, task, calibrate, say, "--calibrate")
    same = [one for one in of_rate if one.dataset.fingerprint == dataset.identity.fingerprint]
    if same:
        return same[-1]
    episodes, held_out = _untrained_on(run, dataset, say, named=calibrate is not None)
    long_enough = episodes[dataset.lengths[episodes] > run.card.inputs.frameskip]
    frames = DecodedFrames(dataset, run.card.model.image_size)
    try:
        drawn = draw_calibrating(long_enough, false_alarms, seed)
        with progress("calibrating", len(drawn), "episodes") as advance:
            alarm = measure_alarm(
                run, dataset, frames, drawn, false_alarms, held_out=held_out, seed=seed, advance=advance
            )
    except TooFewError as error:
        raise LewmError(f"{error}; {_more_episodes(run, len(long_enough), false_alarms)}") from error
    keep_result(home, run, "alarm", alarm)
    return alarm


def _untrained_on(run: Run, dataset: Dataset, say: Say, *, named: bool) -> tuple[np.ndarray, bool]:
    """Episodes that a run was not trained on; all that are named where nobody knows; whether it is known."""
    require_usable(dataset, say)
    unseen = is_unseen(run, dataset)
    if unseen.any():
        return np.flatnonzero(unseen), True
    if run.card.provenance is None and named:
        say(f"note: the threshold is too low if {run.name} was trained on {dataset.name}, and nobody knows that")
        return np.arange(dataset.episodes), False
    trained = "was trained on every episode of" if run.card.provenance else "may have been trained on all of"
    raise LewmError(
        f"{run.name} {trained} {dataset.name}, which would make the threshold too low; name a recording that it was "
        "not trained on with --calibrate"
    )


def _more_episodes(run: Run, episodes: int, false_alarms: float) -> str:
    """Says what to type next where there are too few episodes for a rate."""
    task, needed = find_task(run.card.inputs.task), needed_episodes(false_alarms)
    record = "record more"
    if task and task.make_simulator:
        count, name = max(100, 4 * (needed + 1)), f"{task.name}/calibration"
        record = f"record more ({command('collect', task.name, '--episodes', count, '--seed', 1, '--name', name)})"
    higher = f", or ask for --false-alarms {math.ceil(100 / episodes)}%" if episodes > 1 else ""
    return f"{record} and name them with --calibrate{higher}"
