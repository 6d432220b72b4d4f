"""The evaluation of a run while it is trained: success on validation pairs, and positions read off latents."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from lewm_cli.config import EvalConfig, EvalProtocol, Layer
from lewm_cli.control import Clock, find_actor
from lewm_cli.data import Dataset, Frames
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.evaluate import HELD_OUT, EvaluationLoop, choose_pairs, find_protocol, rate, redraw
from lewm_cli.methods import RunCard, TrainConfig, Validated
from lewm_cli.model import Network
from lewm_cli.probe import ProbeSamples, draw_samples, score_linear
from lewm_cli.simulate import InProcess, Pair
from lewm_cli.store import Run, RunFiles, Say, weights_digest
from lewm_cli.suggestion import command
from lewm_cli.tasks import Task
from lewm_cli.train import Evaluation, Evaluator
from lewm_cli.workers import Waiting

SEED = 7
"""The seed of validation pairs and of planning between them; `lewm eval` draws others, which nothing was chosen by."""

FEWEST_EPISODES = 5
"""Held out: fewer make no interval."""

PROBED_FRAMES = 2000
"""Held-out frames that positions are read off."""


@dataclass(frozen=True)
class ValidationPairs:
    """The pairs and frames that published weights are evaluated on, the same at every evaluation of a run.

    Args:
        simulators: in this process.
        probed: frames whose positions are read; None where the recording has none, or the network no latents.
        baselines: success of random actions, by pair, once that is known.
    """

    task: Task
    dataset: Dataset
    protocol: EvalProtocol
    pairs: list[Pair]
    simulators: InProcess
    probed: ProbeSamples | None
    baselines: dict[int, bool] = field(default_factory=dict)

    @classmethod
    def find(
        cls, task: Task, dataset: Dataset, config: TrainConfig, episodes: np.ndarray, say: Say
    ) -> "ValidationPairs":
        """Draw them from the episodes (V,) that are held out, and try the simulator.

        Raises:
            UsageError: clips are held out, not episodes, or there is nothing to simulate them with.
            LewmError: too few episodes are held out, or the recording or the simulator is not that of the task.
        """
        without = "leave out --eval-every"
        if task.make_simulator is None:
            raise LewmError(
                f"no simulator belongs to {dataset.name}, so no plan can be tried while it is trained on; {without}"
            )
        if dataset.varies:
            raise LewmError(
                f"every episode of {dataset.name} has a {dataset.varies} of its own, which the simulator cannot draw "
                f"again, so no plan can be tried while it is trained on; {without}"
            )
        dims = dataset.actions.shape[1]
        width = dict(task.recognized_by).get("action", dims)
        if width != dims:
            raise LewmError(
                f"{dataset.name} has {dims} action dimensions, and the simulator of {task.name} takes {width}, so no "
                f"plan can be tried while it is trained on; {without}"
            )
        if config.data.split == "clip":
            raise UsageError(
                "an evaluation while training needs episodes that are not trained on, and data.split = 'clip' holds "
                f"out clips of all of them; {without}, or the split"
            )
        if len(episodes) < FEWEST_EPISODES:
            share = min(0.5, (FEWEST_EPISODES + 1) / dataset.episodes)
            raise LewmError(
                f"an evaluation while training needs {FEWEST_EPISODES} episodes that are held out, and of "
                f"{dataset.name} it is {len(episodes)}; hold out more: --set data.validation={share:.2g}, or record "
                "more: " + command("collect", task.name, "--episodes", 300)
            )
        protocol = find_protocol(task, HELD_OUT, (_settings(config.eval),))
        pairs, simulators = choose_pairs(dataset, task, episodes, protocol), InProcess(task)
        redraw(simulators, task, dataset, pairs, say)
        if config.model.latent_dim is None:  # a policy plans nothing, and has no latents to read positions off
            return cls(task, dataset, protocol.model_copy(update={"planner": None}), pairs, simulators, None)
        return cls(task, dataset, protocol, pairs, simulators, _probed(dataset, task, episodes, say))

    def evaluator(self, name: str, files: RunFiles, frames: Frames) -> Evaluator:
        """The evaluator of a run of this name that is trained on frames of this recording."""

        def evaluate(model: Network, card: RunCard, waiting: Waiting) -> Evaluation:
            run = Run(name, files, model, card.method, card, len(model.state_dict()), weights_digest(files.weights))
            with _left_alone(model.device):
                return self._evaluate(run, frames, waiting)

        return evaluate

    def _evaluate(self, run: Run, frames: Frames, waiting: Waiting) -> Evaluation:
        begun = time.monotonic()
        actor = find_actor(run, self.protocol.planner)
        loop = EvaluationLoop(
            self.protocol, actor, self.simulators, Clock(), lambda _: waiting(), baselines=self.baselines
        )
        episodes = loop.play(self.pairs, None, begun)
        self.baselines.update(enumerate(one.random_success for one in episodes))
        probed = score_linear(run, self.dataset, frames, self.probed, SEED) if self.probed else {}
        validated = Validated(
            protocol=self.protocol,
            pairs=tuple((one.episode, one.start_row, one.goal_row) for one in self.pairs),
            success=rate([one.success for one in episodes], episodes),
            random=rate([one.random_success for one in episodes], episodes),
        )
        return Evaluation(validated, probed, time.monotonic() - begun)


def _settings(config: EvalConfig) -> Layer:
    # A tenth of the candidates are elites, as in the release.
    planner = {"candidates": config.candidates, "elites": max(2, config.candidates // 10)}
    return Layer(
        "the section eval",
        {"pairs": config.pairs, "seed": SEED, "planner": planner | {"iterations": config.iterations}},
    )


def _probed(dataset: Dataset, task: Task, episodes: np.ndarray, say: Say) -> ProbeSamples | None:
    """Draw frames to read positions off, if the recording has what that needs."""
    positions = tuple(target for target in task.probe_targets if target.is_position)
    try:
        return draw_samples(dataset, replace(task, probe_targets=positions), episodes, frames=PROBED_FRAMES, seed=SEED)
    except LewmError as error:
        say(f"no positions are read off latents while training: {error}")
        return None


@contextmanager
def _left_alone(device: torch.device) -> Iterator[None]:
    """Leave the random numbers of the training, and its threads, as they are; on a CPU the planner brings its own."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            if device.type == "cpu":
                torch.set_num_threads(1)
            yield
        finally:
            torch.set_num_threads(threads)
