"""Violation of expectation: an episode simulated again with the same actions, and the world changed in its middle."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lewm_cli.data import Dataset, Frames
from lewm_cli.errors import LewmError
from lewm_cli.store import Run
from lewm_cli.surprise.curves import detect, model_steps
from lewm_cli.surprise.detector_score import DetectorScore, score_detector
from lewm_cli.surprise.reference import untrained_reference
from lewm_cli.surprise.surprise_result import DETECTORS, Detector, PerturbationResult, PerturbedEpisode
from lewm_cli.tasks import Perturbation, Simulator, Task


def draw_episodes(run: Run, dataset: Dataset, episodes: np.ndarray, *, count: int, seed: int) -> np.ndarray:
    """Draws episodes that can be simulated, with a whole history before their middle and a step after it.

    Raises:
        LewmError: fewer than two are long enough and have all their actions.
    """
    skip = run.card.inputs.frameskip
    needed = 2 * run.model.history * skip + 1
    usable = np.array([episode for episode in episodes if _can_be_simulated(dataset, episode, needed, skip)], np.int64)
    if len(usable) < 2:
        raise LewmError(
            f"{len(usable)} of {len(episodes)} episodes of {dataset.name} have every action and the {needed} rows that "
            "a history before the event and a step after it take, and two are needed; record more with `lewm collect`"
        )
    return np.sort(np.random.default_rng(seed).permutation(usable)[:count])


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
) -> PerturbationResult:
    """Simulates every episode twice, untouched and changed from its middle step on, and compare the detectors.

    Args:
        run: the model, in eval mode on its device.
        task: with a simulator that knows the perturbation.
        dataset: where states and actions come from.
        frames: of it, at the model's image size; the untrained model is calibrated on them.
        episodes: (N,) at least two, long enough (`draw_episodes`).
        perturbation: the change.
        held_out: the run was trained on none of the episodes; stored.
        seed: of the changes, episode by episode, of the untrained model and of the bootstrap.
        advance: told the number of episodes done since the last call.
    """
    begun = time.monotonic()
    assert task.make_simulator is not None  # it knows the perturbation
    simulator, reference = task.make_simulator(), untrained_reference(run, dataset, frames, seed)
    found = []
    for episode in episodes:
        script = _Script.of(run, task, dataset, int(episode))
        untouched, _ = script.play(simulator, None, np.random.default_rng())
        changed, size = script.play(simulator, perturbation, np.random.default_rng([seed, int(episode)]))
        found.append(
            PerturbedEpisode(
                episode=int(episode),
                event=script.event - 1,  # of the curves, whose first value is about the second frame
                size=size,
                untouched=detect(run, reference, untouched, script.actions),
                perturbed=detect(run, reference, changed, script.actions),
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
        frameskip=run.card.inputs.frameskip,
        seed=seed,
        scores={detector: _score(found, detector, run.model.history, seed) for detector in DETECTORS},
        episodes=tuple(found),
    )


def _can_be_simulated(dataset: Dataset, episode: int, needed: int, skip: int) -> bool:
    first, rows = dataset.offsets[episode], dataset.lengths[episode]
    return bool(rows >= needed and np.isfinite(dataset.actions[first : first + skip * model_steps(rows, skip)]).all())


@dataclass(frozen=True)
class _Script:
    """An episode to simulate: its start and goal, its actions, and the model step at which the world changes."""

    start: np.ndarray
    goal: np.ndarray
    actions: np.ndarray
    frameskip: int
    event: int

    @classmethod
    def of(cls, run: Run, task: Task, dataset: Dataset, episode: int) -> "_Script":
        skip, first = run.card.inputs.frameskip, int(dataset.offsets[episode])
        steps = model_steps(int(dataset.lengths[episode]), skip)
        ends = np.array([first, first + dataset.lengths[episode] - 1])
        start, goal = (
            np.concatenate([dataset.read(name, row).reshape(-1) for name in columns])
            for columns, row in ((task.start_columns, ends[:1]), (task.goal_columns, ends[1:]))
        )
        return cls(start, goal, dataset.actions[first : first + skip * steps], skip, steps // 2)

    def play(
        self, simulator: Simulator, perturbation: Perturbation | None, generator: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """Simulates it; frames (K + 1, H, W, 3) at every model step, and the size of the change."""
        simulator.begin(self.start, self.goal)
        frames, size = [simulator.frame()], 0.0
        for step, block in enumerate(self.actions.reshape(-1, self.frameskip, self.actions.shape[1]), start=1):
            for action in block:
                simulator.step(action)
            if step == self.event and perturbation is not None:
                size = simulator.perturb(perturbation.name, generator)
            frames.append(simulator.frame())
        return np.stack(frames), size


def _score(episodes: list[PerturbedEpisode], detector: Detector, history: int, seed: int) -> DetectorScore:
    untouched = [np.array(one.untouched[detector], float) for one in episodes]
    perturbed = [np.array(one.perturbed[detector], float) for one in episodes]

    def at_event(curves: list[np.ndarray]) -> np.ndarray:
        return np.array([curve[one.event] for curve, one in zip(curves, episodes, strict=True)])

    def after(curves: list[np.ndarray]) -> np.ndarray:
        # From where no frame before the event is in the context of the prediction.
        return np.array([curve[one.event + history :].mean() for curve, one in zip(curves, episodes, strict=True)])

    return score_detector(at_event(untouched), at_event(perturbed), after(untouched), after(perturbed), seed)
