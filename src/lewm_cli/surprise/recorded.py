"""Measures surprise along recorded episodes."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from lewm_cli.data import Dataset, Frames
from lewm_cli.errors import LewmError
from lewm_cli.store import Run
from lewm_cli.surprise.curves import detect, model_steps, untrained_reference
from lewm_cli.surprise.horizon import surprise_ahead
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
    horizon: int = 1,
    beside: Run | None = None,
) -> SurpriseResult:
    """Measures every model step of some episodes, the first one included.

    Args:
        frames: of the recording, at the model's image size.
        held_out: the run was trained on none of them.
        seed: of the untrained model.
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
    found, foresee = [], partial(surprise_ahead, horizon=horizon)
    for episode in long_enough:
        first, steps = dataset.offsets[episode], model_steps(dataset.lengths[episode], skip)
        rows = first + skip * np.arange(steps + 1)
        own = None if proprio is None else proprio[rows]
        taken = dataset.actions[first : first + skip * steps]
        curves = detect(run, reference, frames.rows(rows), taken, own, beside=beside, foresee=foresee)
        found.append(EpisodeCurves(episode=episode, curves=curves))
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
    )
