"""A planner that keeps how its plans came to be: some candidates of some iterations, and what it imagined."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lewm_cli.config import PlannerConfig
from lewm_cli.control import Actions, Observation, PlannedEpisode, Planner
from lewm_cli.data import Dataset
from lewm_cli.diagnose.film_result import Places
from lewm_cli.heads import LatentPlane, UmapEmbedding, recorded_latents
from lewm_cli.plan import Iteration, LatentCost, find_solver
from lewm_cli.store import Run

CANDIDATES = 24
"""Kept of an iteration, at most."""

ITERATIONS = 10
"""Kept of a plan, at most."""

FEWEST_ITERATIONS = 3

FOLLOWED = 384
"""Candidates of an episode, about: simulators follow each of them, which takes time. Where an episode has many plans,
fewer iterations of each are kept."""


@dataclass(frozen=True)
class KeptIteration:
    """Some candidates of one iteration, evenly spaced by rank of cost.

    Args:
        number: of the iteration, from 1.
        costs: (S,) of them, the lowest first.
        elites: so many of them, the first ones, were elites.
        blocks: (S, horizon, block_dim) normalized.
    """

    number: int
    costs: Tensor
    elites: int
    blocks: Tensor

    @classmethod
    def of(cls, iteration: Iteration, number: int) -> "KeptIteration":
        """Thin out the iteration of one environment."""
        order = iteration.cost[0].argsort(stable=True)
        ranks = spread(len(order), CANDIDATES)
        kept = order[torch.from_numpy(ranks)]
        elites = int((ranks < iteration.elites.shape[1]).sum())
        return cls(number, iteration.cost[0, kept], elites, iteration.actions[0, kept])


@dataclass(frozen=True)
class KeptPlan:
    """One plan of an episode.

    Args:
        before: (K, A) actions that the episode had taken.
        seconds: of the solver, shared among the episodes that were planned for at the same time.
        lowest, mean: cost of every iteration.
        iterations: some of them, evenly spaced; the first and the last are among them.
        blocks: (1, horizon, block_dim) the chosen actions, normalized.
        imagined: (horizon + 1, 2) on each latent map.
    """

    before: Actions
    seconds: float
    lowest: tuple[float, ...]
    mean: tuple[float, ...]
    iterations: tuple[KeptIteration, ...]
    blocks: Tensor
    imagined: Places


class PlanRecorder(Planner):
    """Plans like the planner of a run, and keeps every plan.

    Args:
        dataset: recording whose frames the latent maps are of.
        budget: environment steps of an episode, by which its number of plans is known.

    Attributes:
        embeddings: that latents are drawn in, one or two.
        plans: of every episode, by its seed.
    """

    def __init__(self, run: Run, config: PlannerConfig, dataset: Dataset, budget: int) -> None:
        super().__init__(run, config, solver=find_solver(config, record=True))
        latents = recorded_latents(run, dataset)
        found = (LatentPlane.spanned_by(latents), UmapEmbedding.of(latents))
        self.embeddings = tuple(one for one in found if one is not None)
        self.plans: dict[int, list[KeptPlan]] = defaultdict(list)
        self._taken: dict[int, list[Actions]] = defaultdict(list)
        plans = -(-budget // self.steps)
        self._iterations = min(ITERATIONS, max(FEWEST_ITERATIONS, FOLLOWED // (CANDIDATES * plans)))

    def act(self, episodes: Sequence[PlannedEpisode], seen: Sequence[Observation]) -> Sequence[Actions]:
        """See `Planner`."""
        chosen = super().act(episodes, seen)
        plans = [one.plan for one in episodes if one.plan is not None]
        imagined = self._cost.imagined(torch.cat([plan.actions for plan in plans])).float().cpu()
        for episode, plan, actions, latents in zip(episodes, plans, chosen, imagined, strict=True):
            seed = episode.generator.initial_seed()
            every = spread(len(plan.history), self._iterations)
            self.plans[seed].append(
                KeptPlan(
                    before=np.concatenate([actions[:0], *self._taken[seed]]),
                    seconds=plan.seconds / len(episodes),
                    lowest=tuple(float(one.cost.min()) for one in plan.history),
                    mean=tuple(float(one.cost.mean()) for one in plan.history),
                    iterations=tuple(KeptIteration.of(plan.history[place], place + 1) for place in every.tolist()),
                    blocks=plan.actions,
                    imagined=self.places(latents),
                )
            )
            self._taken[seed].append(actions[: self.steps])
            episode.plan = None  # every candidate of it
        return chosen

    def places(self, latents: Tensor) -> Places:
        """Places of latents (N, D) on each latent map."""
        return tuple(one.places(latents) for one in self.embeddings)

    def latent_cost(self, starts: Tensor, goals: Tensor) -> LatentCost:
        """See `Planner`; kept to imagine the chosen plans with."""
        self._cost = super().latent_cost(starts, goals)
        return self._cost


def spread(count: int, most: int) -> npt.NDArray[np.int_]:
    """At most so many of the numbers 0 to before `count`, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
