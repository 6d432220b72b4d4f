"""What candidates cost where they really lead: simulators follow every one of them."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from lewm_cli.config import Inputs
from lewm_cli.evaluate.fleet import Simulators, gather
from lewm_cli.evaluate.objectives import Judge
from lewm_cli.evaluate.open_episode import Open
from lewm_cli.evaluate.pairs import Pair
from lewm_cli.evaluate.reference_settings import PlansBy
from lewm_cli.evaluate.stage import Answer, Rollouts
from lewm_cli.plan import Cost
from lewm_cli.store import Run
from lewm_cli.workers import available_cores

TOGETHER = 8
"""Candidates in one request: few, so that all processes have work to the end. Whoever simulates, they are the same
ones, for frames that are encoded together have a say in each other's rounding."""


@dataclass(frozen=True)
class Onward:
    """Follows candidates from where an episode has come to.

    Args:
        simulators: of the task.
        inputs: what candidates mean.
        gate: what counts as reached, which may say what is in the way, too.
        pair: start and goal.
        before: (K, A) actions taken so far.
    """

    simulators: Simulators
    inputs: Inputs
    gate: str
    pair: Pair
    before: np.ndarray

    @classmethod
    def of(cls, run: Run, simulators: Simulators, gate: str, pair: Pair, before: np.ndarray | None = None) -> Self:
        """For a run's candidates; from the start of the pair, if nothing was done before."""
        inputs = run.card.inputs
        none = np.empty((0, inputs.actions.dim), np.float32)
        return cls(simulators, inputs, gate, pair, none if before is None else before)

    def ask(self, candidates: Tensor, *, seen: bool) -> "list[Future[Answer]]":
        """Have candidates (S, horizon, block_dim) followed, several at a time, and, if `seen`, drawn at their ends."""
        blocks = candidates.numpy()
        actions = self.inputs.actions.denormalize(blocks.reshape(len(blocks), -1, self.inputs.actions.dim))
        parts = np.array_split(actions, -(-len(actions) // TOGETHER))
        return [
            self.simulators.ask(k, Rollouts(self.pair, self.gate, self.before, part, seen))
            for k, part in enumerate(parts)
        ]

    def distances(self, candidates: Tensor) -> np.ndarray:
        """How far from the goal candidates (S, horizon, block_dim) end, (S,), in the task's units."""
        return np.concatenate([answer.found for answer in gather(self.ask(candidates, seen=False))])


@dataclass(frozen=True)
class StateCost:
    """Distance of the state that candidates lead to from the goal, for a batch of environments.

    Args:
        ways: E of them.
    """

    ways: tuple[Onward, ...]

    @property
    def environments(self) -> int:
        """Number of environments E."""
        return len(self.ways)

    @property
    def device(self) -> torch.device:
        """Simulators take candidates from the CPU."""
        return torch.device("cpu")

    def __call__(self, candidates: Tensor) -> Tensor:
        """Cost of candidates (E, S, horizon, block_dim), normalized; (E, S), in the task's units."""
        found = [way.distances(one) for way, one in zip(self.ways, candidates, strict=True)]
        return torch.from_numpy(np.stack(found)).float()

    def of(self, number: int) -> Self:
        """The cost for one of the environments."""
        return type(self)(self.ways[number : number + 1])


@dataclass(frozen=True)
class SeenCost:
    """What a run's objective says of what the camera sees where candidates lead, for a batch of environments.

    Args:
        judge: of the run, which encodes; its objective asks for the end of the way alone.
        ways: E of them.
        goals: (E, D) latents of the goal frames.
    """

    judge: Judge
    ways: tuple[Onward, ...]
    goals: Tensor

    @property
    def environments(self) -> int:
        """Number of environments E."""
        return len(self.ways)

    @property
    def device(self) -> torch.device:
        """Simulators take candidates from the CPU."""
        return torch.device("cpu")

    @torch.inference_mode()
    def __call__(self, candidates: Tensor) -> Tensor:
        """Cost of candidates (E, S, horizon, block_dim), normalized; (E, S), lower is better."""
        asked = [way.ask(one, seen=True) for way, one in zip(self.ways, candidates, strict=True)]
        latents = torch.stack([self._latents(answers) for answers in asked])
        return self.judge.objective(latents.unsqueeze(2), self.goals.unsqueeze(1).expand_as(latents)).cpu()

    def of(self, number: int) -> Self:
        """The cost for one of the environments."""
        one = slice(number, number + 1)
        return type(self)(self.judge, self.ways[one], self.goals[one])

    def _latents(self, answers: "list[Future[Answer]]") -> Tensor:
        """Of the frames of one environment, (S, D); on a CPU encoded while others are drawn."""
        run = self.judge.run
        if run.device.type != "cpu":
            return run.embed(np.concatenate(list(_frames(answers))))
        with ThreadPoolExecutor(available_cores()) as pool:
            encoded = [pool.submit(run.embed, frames) for frames in _frames(answers)]
            return torch.cat([one.result() for one in encoded])


@dataclass(frozen=True)
class TrueCosts:
    """What open episodes are planned by: where the simulator shows that candidates lead.

    Args:
        judge: of the run, which says what actions mean, and encodes.
        simulators: of the task.
        gate: what counts as reached.
        by: whether latents or states are compared.
    """

    judge: Judge
    simulators: Simulators
    gate: str
    by: PlansBy

    def __call__(self, open_ones: list[Open]) -> Cost:
        """From where the episodes have come to."""
        run = self.judge.run
        ways = tuple(Onward.of(run, self.simulators, self.gate, one.pair, one.actions) for one in open_ones)
        if self.by == "true state":
            return StateCost(ways)
        return SeenCost(self.judge, ways, torch.stack([one.goal for one in open_ones]))


def _frames(answers: "list[Future[Answer]]") -> Iterator[np.ndarray]:
    return (answer.result().frames for answer in answers)
