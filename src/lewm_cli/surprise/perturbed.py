"""Measures a violation of expectation: episodes are simulated again with the world changed in the middle.

The actions stay the same, and no action explains the change.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from lewm_cli.data import Dataset, Frames
from lewm_cli.errors import LewmError
from lewm_cli.heads import model_steps, untrained_reference
from lewm_cli.store import Measurement, Run
from lewm_cli.suggestion import command
from lewm_cli.surprise.curves import detect
from lewm_cli.surprise.perturbation_result import DetectorScore, PerturbationResult, PerturbedEpisode, score_detector
from lewm_cli.surprise.staged import Film, Scene, stage
from lewm_cli.surprise.surprise_result import BesideRun, Curve, Detector
from lewm_cli.tasks import Perturbation, Simulator, Task

Result = TypeVar("Result", bound=Measurement)


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


@dataclass(frozen=True)
class Staging:
    """A run, and a recording whose episodes are simulated again for it.

    Args:
        task: with a simulator that knows the perturbation.
        frames: of the recording, at the model's image size.
        held_out: the run was trained on none of the episodes.
        seed: of the changes, episode by episode, of the untrained model and of the bootstrap.
        horizon: model steps to look ahead.
        beside: another run that takes the same inputs, as one more detector.
    """

    run: Run
    task: Task
    dataset: Dataset
    frames: Frames
    held_out: bool
    seed: int
    horizon: int = 1
    beside: Run | None = None

    def simulator(self) -> Simulator:
        """A simulator of the task."""
        assert self.task.make_simulator is not None  # it knows the perturbation
        return self.task.make_simulator()

    def detectors(self) -> Callable[[Film, np.ndarray], dict[Detector, Curve]]:
        """All detectors, which see a film of an episode and the blocks (K, frameskip, A) taken in it."""
        reference = untrained_reference(self.run, self.dataset, self.frames, self.seed)

        def look(film: Film, blocks: np.ndarray) -> dict[Detector, Curve]:
            taken = blocks.reshape(-1, blocks.shape[2])
            return detect(
                self.run, reference, film.frames, taken, film.proprio, beside=self.beside, horizon=self.horizon
            )

        return look

    def scene(self, episode: int) -> Scene:
        """Reads what an episode is simulated from, with the event in its middle."""
        dataset, skip = self.dataset, self.run.card.inputs.frameskip
        first, rows = int(dataset.offsets[episode]), int(dataset.lengths[episode])
        actions = dataset.actions[first : first + skip * model_steps(rows, skip)]
        start, goal = (
            np.concatenate([dataset.read(name, np.array([row])).reshape(-1) for name in columns])
            for columns, row in ((self.task.start_columns, first), (self.task.goal_columns, first + rows - 1))
        )
        return Scene(start, goal, actions.reshape(-1, skip, actions.shape[1]), model_steps(rows, skip) // 2)

    def result(self, kind: type[Result], begun: float, perturbation: Perturbation, **found: Any) -> Result:
        """Puts a result together of what was found, since `begun` (`time.monotonic()`)."""
        return kind.of(
            self.run,
            self.dataset,
            held_out=self.held_out,
            begun=begun,
            perturbation=perturbation.name,
            size_unit=perturbation.unit,
            frameskip=self.run.card.inputs.frameskip,
            horizon=self.horizon,
            seed=self.seed,
            beside=BesideRun(run=self.beside.name, weights_sha256=self.beside.sha256) if self.beside else None,
            **found,
        )


def measure_perturbation(
    staging: Staging, episodes: np.ndarray, perturbation: Perturbation, advance: Callable[[int], None]
) -> PerturbationResult:
    """Simulates every episode twice, untouched and changed from its middle step on, and compares the detectors.

    Args:
        episodes: (N,) at least two, long enough (`draw_episodes`).
        advance: called with the number of episodes done since the last call.
    """
    begun, simulator, look = time.monotonic(), staging.simulator(), staging.detectors()
    longest = max(one.model.history for one in (staging.run, staging.beside or staging.run))
    found, history = [], longest + staging.horizon - 1
    for episode in map(int, episodes):
        generator = np.random.default_rng([staging.seed, episode])
        staged = stage(simulator, perturbation, staging.scene(episode), history, generator)
        found.append(
            PerturbedEpisode(
                episode=episode,
                event=staged.scene.event - 1,  # of the curves, whose first value is about the second frame
                size=staged.size,
                difference=staged.difference,
                matched=staged.matched,
                untouched=look(staged.untouched, staged.scene.blocks),
                perturbed=look(staged.perturbed, staged.scene.blocks),
            )
        )
        advance(1)
    lasts = perturbation.lasts
    scores = {detector: _score(found, detector, history, lasts, staging.seed) for detector in found[0].untouched}
    return staging.result(PerturbationResult, begun, perturbation, lasts=lasts, scores=scores, episodes=tuple(found))


def _score(episodes: list[PerturbedEpisode], detector: Detector, history: int, lasts: int, seed: int) -> DetectorScore:
    event, after = np.empty((2, len(episodes))), np.empty((2, len(episodes)))
    for number, one in enumerate(episodes):
        for version, curves in enumerate((one.untouched, one.perturbed)):
            values = np.array(curves[detector], float)
            event[version, number] = values[one.event : one.event + lasts].mean()
            # From where no frame before the end of the event is in the context of the prediction.
            after[version, number] = values[one.event + lasts - 1 + history :].mean()
    return score_detector(event[0], event[1], after[0], after[1], seed)
