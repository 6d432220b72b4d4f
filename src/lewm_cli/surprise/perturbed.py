"""Measures a violation of expectation: episodes are simulated again with the world changed in the middle.

The actions stay the same, and no action explains the change.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from lewm_cli.data import Dataset, Frames
from lewm_cli.errors import LewmError
from lewm_cli.heads import model_steps, untrained_reference
from lewm_cli.store import Run
from lewm_cli.suggestion import command
from lewm_cli.surprise.curves import detect
from lewm_cli.surprise.perturbation_result import DetectorScore, PerturbationResult, PerturbedEpisode, score_detector
from lewm_cli.surprise.staged import Scene, stage
from lewm_cli.surprise.surprise_result import BesideRun, Detector
from lewm_cli.tasks import Perturbation, Task


def draw_episodes(
    run: Run, dataset: Dataset, episodes: np.ndarray, *, count: int, seed: int, lasts: int = 1
) -> np.ndarray:
    """Draws episodes that can be simulated, with a whole history before their middle and a step after it.

    Args:
        lasts: model steps in which the longest violation is seen.

    Raises:
        LewmError: fewer than two are long enough and have all their actions.
    """
    skip = run.card.inputs.frameskip
    needed = 2 * (run.model.history + lasts - 1) * skip + 1

    def can_be_simulated(episode: int) -> bool:
        first, rows = dataset.offsets[episode], dataset.lengths[episode]
        taken = dataset.actions[first : first + skip * model_steps(rows, skip)]
        return bool(rows >= needed and np.isfinite(taken).all())

    usable = np.array(list(filter(can_be_simulated, episodes)), np.int64)
    if len(usable) < 2:
        raise LewmError(
            f"{len(usable)} of {len(episodes)} episodes of {dataset.name} have every action and the {needed} rows that "
            "a history before the event and a step after it take, and two are needed; record more with: "
            + command("collect", "TASK", "--episodes", "N")
        )
    return np.sort(np.random.default_rng(seed).permutation(usable)[:count])


def recorded_scene(run: Run, task: Task, dataset: Dataset, episode: int) -> Scene:
    """Reads what an episode is simulated from, with the event in its middle."""
    skip = run.card.inputs.frameskip
    first, rows = int(dataset.offsets[episode]), int(dataset.lengths[episode])
    actions = dataset.actions[first : first + skip * model_steps(rows, skip)]
    start, goal = (
        np.concatenate([dataset.read(name, np.array([row])).reshape(-1) for name in columns])
        for columns, row in ((task.start_columns, first), (task.goal_columns, first + rows - 1))
    )
    return Scene(start, goal, actions.reshape(-1, skip, actions.shape[1]), model_steps(rows, skip) // 2)


def measure_perturbation(
    run: Run,
    task: Task,
    dataset: Dataset,
    frames: Frames,
    episodes: np.ndarray,
    perturbation: Perturbation,
    *,
    held_out: bool,
    seed: int,
    advance: Callable[[int], None],
    horizon: int = 1,
    beside: Run | None = None,
) -> PerturbationResult:
    """Simulates every episode twice, untouched and changed from its middle step on, and compares the detectors.

    The arguments are those of `measure_surprise`, and:

    Args:
        task: with a simulator that knows the perturbation.
        episodes: (N,) at least two, long enough (`draw_episodes`).
        seed: of the changes, episode by episode, of the untrained model and of the bootstrap.
        horizon: model steps to look ahead.
        beside: another run that takes the same inputs, as one more detector.
    """
    begun, skip = time.monotonic(), run.card.inputs.frameskip
    assert task.make_simulator is not None  # it knows the perturbation
    simulator, reference = task.make_simulator(), untrained_reference(run, dataset, frames, seed)
    longest = max(one.model.history for one in (run, beside or run))
    found, history = [], longest + horizon - 1
    look = partial(detect, run, reference, beside=beside, horizon=horizon)
    for episode in map(int, episodes):
        scene = recorded_scene(run, task, dataset, episode)
        staged = stage(simulator, perturbation, scene, history, np.random.default_rng([seed, episode]))
        taken = staged.scene.blocks.reshape(-1, scene.blocks.shape[2])
        found.append(
            PerturbedEpisode(
                episode=episode,
                event=staged.scene.event - 1,  # of the curves, whose first value is about the second frame
                size=staged.size,
                difference=staged.difference,
                matched=staged.matched,
                untouched=look(staged.untouched.frames, taken, staged.untouched.proprio),
                perturbed=look(staged.perturbed.frames, taken, staged.perturbed.proprio),
            )
        )
        advance(1)
    return PerturbationResult.of(
        run,
        dataset,
        held_out=held_out,
        begun=begun,
        perturbation=perturbation.name,
        size_unit=perturbation.unit,
        lasts=perturbation.lasts,
        frameskip=skip,
        horizon=horizon,
        seed=seed,
        beside=BesideRun(run=beside.name, weights_sha256=beside.sha256) if beside else None,
        scores={
            detector: _score(found, detector, history, perturbation.lasts, seed) for detector in found[0].untouched
        },
        episodes=tuple(found),
    )


def _score(episodes: list[PerturbedEpisode], detector: Detector, history: int, lasts: int, seed: int) -> DetectorScore:
    event, after = np.empty((2, len(episodes))), np.empty((2, len(episodes)))
    for number, one in enumerate(episodes):
        for version, curves in enumerate((one.untouched, one.perturbed)):
            values = np.array(curves[detector], float)
            event[version, number] = values[one.event : one.event + lasts].mean()
            # From where no frame before the end of the event is in the context of the prediction.
            after[version, number] = values[one.event + lasts - 1 + history :].mean()
    return score_detector(event[0], event[1], after[0], after[1], seed)
