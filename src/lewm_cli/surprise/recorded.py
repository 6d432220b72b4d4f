"""Surprise along the episodes of a recording."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from lewm_cli.data import Dataset, Frames
from lewm_cli.errors import LewmError
from lewm_cli.store import Run
from lewm_cli.surprise.curves import detect, model_steps
from lewm_cli.surprise.reference import untrained_reference
from lewm_cli.surprise.surprise_result import EpisodeCurves, SurpriseResult


def measure_surprise(
    run: Run,
    dataset: Dataset,
    frames: Frames,
    episodes: Sequence[int],
    *,
    held_out: bool,
    seed: int,
    advance: Callable[[int], None],
) -> SurpriseResult:
    """Measures every model step of some episodes, the first one included.

    Args:
        run: the model, in eval mode on its device.
        dataset: the recording.
        frames: of it, at the model's image size.
        episodes: their numbers.
        held_out: the run was trained on none of them; stored.
        seed: of the untrained model; stored.
        advance: told the number of episodes done since the last call.

    Raises:
        LewmError: no episode is long enough for one step.
    """
    begun = time.monotonic()
    skip = run.card.inputs.frameskip
    long_enough = [episode for episode in episodes if model_steps(dataset.lengths[episode], skip) > 0]
    if not long_enough:
        raise LewmError(
            f"{dataset.path}: the longest episode has {dataset.lengths[list(episodes)].max()} rows, but one step of "
            f"{run.name} needs {skip + 1}: two frames, and the {skip} actions between them"
        )
    reference = untrained_reference(run, dataset, frames, seed)
    found = []
    for episode in long_enough:
        first, steps = dataset.offsets[episode], model_steps(dataset.lengths[episode], skip)
        seen = frames.rows(first + skip * np.arange(steps + 1))
        curves = detect(run, reference, seen, dataset.actions[first : first + skip * steps])
        found.append(EpisodeCurves(episode=int(episode), curves=curves))
        advance(1)
    return SurpriseResult.of(
        run,
        dataset,
        held_out=held_out,
        begun=begun,
        frameskip=skip,
        seed=seed,
        episodes=tuple(found),
        left_out=tuple(sorted({int(episode) for episode in episodes} - {int(episode) for episode in long_enough})),
    )
