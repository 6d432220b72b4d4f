"""Planning by true dynamics: simulators follow every candidate, and its cost is that of where it really leads."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from lewm_cli.config import Inputs, PlannerConfig
from lewm_cli.control import Actions, Observation, PlannedEpisode, Planner, embed_observations
from lewm_cli.plan import Cost, Objective
from lewm_cli.simulate import Pair, Response, RolloutResult, Rollouts, SimulatorPool, gather
from lewm_cli.store import Run
from lewm_cli.workers import available_cores

PlansBy = Literal["model", "true latent", "true state"]
"""The cost of plans: by where the model imagines that they lead, or by where the simulator shows that they lead, there
by the latent of the frame or by the state."""

TOGETHER = 8
"""Candidates in one request: few, so that all processes have work to the end, and the same ones however many processes
there are, for frames that are encoded together change each other's rounding."""


@dataclass(frozen=True)
class TrueRollout:
    """Follows a run's candidates in simulators, from where an episode has come to.

    Args:
        inputs: of the run, which define what candidates mean.
        criterion: of success, which may define what is in the way, too.
        before: (K, A) actions taken so far.
    """

    pool: SimulatorPool
    inputs: Inputs
    criterion: str
    pair: Pair
    before: Actions

    @classmethod
    def from_start(cls, run: Run, pool: SimulatorPool, criterion: str, pair: Pair) -> Self:
        """Build one for a run's candidates from the start of a pair."""
        inputs = run.card.inputs
        return cls(pool, inputs, criterion, pair, np.empty((0, inputs.actions.dim), np.float32))

    def submit(self, candidates: Tensor, *, rendered: bool) -> "list[Future[Response]]":
        """Have candidates (S, horizon, block_dim) followed, several at a time, and their ends drawn if `rendered`."""
        blocks = candidates.numpy()
        actions = self.inputs.actions.denormalize(blocks.reshape(len(blocks), -1, self.inputs.actions.dim))
        parts = np.array_split(actions, -(-len(actions) // TOGETHER))
        return [
            self.pool.submit(k, Rollouts(self.pair, self.criterion, self.before, part, rendered))
            for k, part in enumerate(parts)
        ]

    def follow(self, candidates: Tensor) -> RolloutResult:
        """Follow candidates (S, horizon, block_dim) to their ends."""
        parts = [response.found for response in gather(self.submit(candidates, rendered=False))]
        return RolloutResult(
            np.concatenate([part.paths for part in parts]), np.concatenate([part.distances for part in parts])
        )


@dataclass(frozen=True)
class TrueCost:
    """A cost by where candidates really lead, for a batch of environments with a rollout each."""

    rollouts: tuple[TrueRollout, ...]

    @property
    def environments(self) -> int:
        """Number of environments E."""
        return len(self.rollouts)

    @property
    def device(self) -> torch.device:
        """The CPU, from which simulators take candidates."""
        return torch.device("cpu")

    def of(self, number: int) -> Self:
        """The cost for one of the environments."""
        return replace(self, rollouts=self.rollouts[number : number + 1])


class StateCost(TrueCost):
    """The distance of the state that candidates lead to from the goal."""

    def __call__(self, candidates: Tensor) -> Tensor:
        """Cost of candidates (E, S, horizon, block_dim), normalized; (E, S), in the task's units."""
        found = [rollout.follow(one).distances for rollout, one in zip(self.rollouts, candidates, strict=True)]
        return torch.from_numpy(np.stack(found)).float()


@dataclass(frozen=True)
class FrameCost(TrueCost):
    """A run's objective, one of the end alone, applied to latents of the frames that candidates really lead to."""

    run: Run
    objective: Objective
    goals: Tensor

    @torch.inference_mode()
    def __call__(self, candidates: Tensor) -> Tensor:
        """Cost of candidates (E, S, horizon, block_dim), normalized; (E, S), lower is better."""
        followed = [rollout.submit(one, rendered=True) for rollout, one in zip(self.rollouts, candidates, strict=True)]
        latents = torch.stack([self._latents(responses) for responses in followed])
        return self.objective(latents.unsqueeze(2), self.goals.unsqueeze(1).expand_as(latents)).cpu()

    def of(self, number: int) -> Self:
        """The cost for one of the environments."""
        return replace(super().of(number), goals=self.goals[number : number + 1])

    def _latents(self, responses: "list[Future[Response]]") -> Tensor:
        """Latents (S, D) of what is seen of one environment; on a CPU encoded while others are drawn."""
        if self.run.device.type != "cpu":
            return embed_observations(self.run, [one for response in responses for one in response.result().seen])
        with ThreadPoolExecutor(available_cores()) as threads:
            encoded = [threads.submit(embed_observations, self.run, response.result().seen) for response in responses]
            return torch.cat([one.result() for one in encoded])


class TruePlanner(Planner):
    """Plans like the planner of a run, with simulators in the place of the model; pairs are by their episode's seed."""

    def __init__(
        self,
        run: Run,
        config: PlannerConfig,
        pool: SimulatorPool,
        criterion: str,
        pairs: Mapping[int, Pair],
        by: PlansBy,
    ) -> None:
        super().__init__(run, config)
        self.at_once = 1  # it keeps all simulators busy, and only one thread may ask those that are in this process
        self._by = by
        self._rollouts = {seed: TrueRollout.from_start(run, pool, criterion, pair) for seed, pair in pairs.items()}

    def begin(self, goals: Sequence[Observation], seeds: Sequence[int]) -> list[PlannedEpisode]:
        """See `Planner`; the same pair may come twice, one after the other."""
        for seed in seeds:
            self._rollouts[seed] = replace(self._rollouts[seed], before=self._rollouts[seed].before[:0])
        return super().begin(goals, seeds)

    def act(self, episodes: Sequence[PlannedEpisode], seen: Sequence[Observation]) -> Sequence[Actions]:
        """See `Planner`."""
        chosen = super().act(episodes, seen)
        for episode, actions in zip(episodes, chosen, strict=True):
            seed = episode.generator.initial_seed()
            before = self._rollouts[seed].before
            self._rollouts[seed] = replace(self._rollouts[seed], before=np.concatenate([before, actions[: self.steps]]))
        return chosen

    def cost(self, episodes: Sequence[PlannedEpisode], starts: torch.Tensor) -> Cost:
        """See `Planner`; from where the episodes have come to."""
        rollouts = tuple(self._rollouts[episode.generator.initial_seed()] for episode in episodes)
        if self._by == "true state":
            return StateCost(rollouts)
        return FrameCost(rollouts, self.run, self.objective, torch.stack([episode.goal for episode in episodes]))
