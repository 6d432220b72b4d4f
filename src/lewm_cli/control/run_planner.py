"""Planning with a run: from frames and goals to actions. Whatever plans with a run does it here."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from threading import Event
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lewm_cli.accelerate import fastest_dtype
from lewm_cli.config import RANKING, Inputs, PlannerConfig, PriorName
from lewm_cli.control.actor import Actions, Actor, ActorEpisode, Observation
from lewm_cli.control.limits import known_bounds
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.heads import FITTED, SHUFFLED, WITH_IMAGINED, find_anchors, find_head
from lewm_cli.model import Imaginer, PlanFlops, PriorHead, WorldModel, rollout
from lewm_cli.plan import (
    Bounds,
    Cost,
    LastLatent,
    LatentCost,
    Objective,
    PerEnvironment,
    Plan,
    Prior,
    ProbedPosition,
    Problem,
    Reachability,
    Solver,
    WarmStart,
    WholePath,
    find_solver,
)
from lewm_cli.store import Run
from lewm_cli.workers import available_cores

EPISODES_PER_CORE = 8
"""Active at once on a CPU, where each is planned for by itself anyway: few, so that some end early."""

REACH_HEADS = {"reach": FITTED, "reach-imagined": WITH_IMAGINED, "reach-shuffled": SHUFFLED}
"""The network that each of these objectives asks."""


@dataclass(kw_only=True)
class PlannedEpisode(ActorEpisode):
    """The state of a planner in one episode."""

    goal: Tensor
    """Latent (D,) of the goal frame."""
    generator: torch.Generator
    """Draws candidates."""
    plan: Plan | None = None
    """The latest; None before the first."""
    warm_start: WarmStart | None = None
    """The start of the next plan, if that does not start anew."""


class Planner(Actor):
    """Plans from one frame, over `horizon` model steps, of which `receding` are executed before it plans again.

    What is planned for an episode depends on its frames and its seed alone. On a CPU that holds bit for bit; on an
    accelerator the others of the batch may change how a latent is rounded.

    Args:
        run: the model with its normalization, in eval mode on its device.
        config: settings of planning; precision `auto` is measured now.
        solver: finds the plans; the solver of the configuration if not given.

    Attributes:
        config: with the precision that is used.
        objective: rates imagined latents.

    Raises:
        LewmError: the run is a policy.
        UsageError: the configuration looks further back than the run has learned to.
        MissingError, LewmError: see `find_objective`.
    """

    def __init__(self, run: Run, config: PlannerConfig, *, solver: Solver | None = None) -> None:
        super().__init__()
        self.run, self.config = run, resolve_precision(run, config)
        self.objective, self.head_sha256 = find_objective(run, self.config)
        self._prior = find_prior(run, self.config.prior)
        self.prior_sha256 = self._prior and self._prior.sha256
        self._anchors = find_anchors(run, self.config.anchors) if self.config.anchors else None
        self.anchors = self._anchors.index.dataset if self._anchors else None
        self.steps = self.config.receding * run.card.inputs.frameskip
        self.solver = solver or find_solver(self.config)
        if run.device.type == "cpu":
            self.solver, self.at_once = PerEnvironment(self.solver), EPISODES_PER_CORE * available_cores()
        # Counted here, before a clock runs.
        self._flops = PlanFlops.of(run.world_model, self.config.horizon, self.config.history)

    def begin(self, goals: Sequence[Observation], seeds: Sequence[int]) -> list[PlannedEpisode]:
        """See `Actor`."""
        return [
            PlannedEpisode(goal=goal, generator=torch.Generator().manual_seed(seed))
            for goal, seed in zip(self.embed(goals), seeds, strict=True)
        ]

    def act(self, episodes: Sequence[PlannedEpisode], seen: Sequence[Observation]) -> Sequence[Actions]:
        """See `Actor`; plans for all episodes in one batch.

        Raises:
            LewmError: bounds are asked for and not known, or no candidate has a finite cost.
        """
        return self.plan(episodes, self.embed(seen))

    def plan(
        self, episodes: Sequence[PlannedEpisode], starts: Tensor, cancelled: Event | None = None
    ) -> Sequence[Actions]:
        """Plan as `act` does, from latents (E, D).

        Args:
            cancelled: set by another thread when the plans are not wanted anymore; raises CancelledError then.
        """
        with self.clock("planner"):
            begun = time.monotonic()
            cost, generators = self.cost(episodes, starts), [one.generator for one in episodes]
            problem = self.problem(cost, generators, [one.warm_start for one in episodes], begun)
            plan = self.solver.solve(replace(problem, cancelled=cancelled))
        for number, episode in enumerate(episodes):
            episode.plan = plan.of(number)
            episode.iterations += int(episode.plan.iterations)
            episode.flops += 0.0 if episode.plan.flops is None else float(episode.plan.flops)
            if self.config.warm_start:
                episode.warm_start = plan.warm_start(number, self.config.receding)
        return list(self.actions_of(plan.actions))

    def cost(self, episodes: Sequence[PlannedEpisode], starts: Tensor) -> Cost:
        """Build the cost of candidates for episodes from latents (E, D) of what they look like now."""
        return self.latent_cost(starts, torch.stack([one.goal for one in episodes]))

    def latent_cost(self, starts: Tensor, goals: Tensor) -> LatentCost:
        """Build the cost of candidates from latents (E, D) of what is seen now and of goals, or of anchors before."""
        if self._anchors:
            pairs = zip(starts, goals, strict=True)
            goals = torch.stack([self._anchors.aim(*pair, self.config.horizon) for pair in pairs])
        return LatentCost(self.run.world_model, starts.unsqueeze(1), goals, self.objective, self._imagine)

    def problem(
        self,
        cost: Cost,
        generators: Sequence[torch.Generator],
        warm_starts: Sequence[WarmStart | None] = (),
        begun: float | None = None,
    ) -> Problem:
        """Build the planning problem, in the run's normalized action space.

        Args:
            begun: when planning began, by the monotonic clock, if that was before now.

        Raises:
            LewmError: bounds are asked for, and not known.
        """
        inputs, begun = self.run.card.inputs, time.monotonic() if begun is None else begun
        problem = Problem(
            cost,
            inputs.block_dim,
            list(generators),
            frameskip=inputs.frameskip,
            warm_starts=warm_starts,
            priors=self._priors(cost),
            recorded=self._recorded(cost, generators),
            bounds=normalized_bounds(self.run) if self.config.bounds else None,
            flops=self._flops,
        )
        return replace(problem, spent=time.monotonic() - begun)

    @torch.inference_mode()
    def imagine(self, latent: Tensor, actions: Actions) -> Tensor:
        """Imagine the latent (D,) that actions (K * frameskip, A) lead to from this one, in the environment's units."""
        blocks = torch.from_numpy(self.run.card.inputs.blocks_of(actions)).to(latent.device)
        return rollout(self.run.world_model, latent[None, None], blocks[None], self.config.history)[0, -1]

    def embed(self, seen: Sequence[Observation]) -> Tensor:
        """Latents (N, D) of observations; on a CPU each by itself, so that no other has a say in its rounding."""
        with self.clock("encoder"):
            if not seen:
                return torch.empty(0)
            if self.run.device.type != "cpu" or len(seen) == 1:
                return embed_observations(self.run, seen)
            with ThreadPoolExecutor(available_cores()) as pool:
                return torch.cat(list(pool.map(lambda one: embed_observations(self.run, [one]), seen)))

    def actions_of(self, blocks: Tensor) -> Actions:
        """Denormalize action blocks (E, horizon, block_dim) to actions (E, L, A) in the units of the environment."""
        actions = self.run.card.inputs.actions
        return actions.denormalize(blocks.numpy().reshape(len(blocks), -1, actions.dim))

    def _priors(self, cost: Cost) -> Sequence[Prior]:
        """Ask the prior, if there is one; on a CPU for each by itself, so that no other has a say in its rounding."""
        if self._prior is None or not isinstance(cost, LatentCost):
            return ()
        roll = partial(roll_prior, self.run.world_model, self._prior.head, config=self.config)
        starts, goals = cost.start[:, 0], cost.goal
        if self.run.device.type != "cpu" or len(starts) == 1:
            return roll(starts, goals)
        with ThreadPoolExecutor(available_cores()) as pool:
            return [prior for (prior,) in pool.map(roll, starts[:, None], goals[:, None])]

    def _recorded(self, cost: Cost, generators: Sequence[torch.Generator]) -> Sequence[Tensor]:
        """Recorded sequences (S, horizon, block_dim) if the solver tries them: the nearest places first, or any."""
        config = self.config
        if self._anchors is None or config.solver not in RANKING or not isinstance(cost, LatentCost):
            return ()
        count = config.iterations * config.candidates
        drawn_by = generators if config.solver == "recorded-random" else [None] * len(generators)
        pairs = zip(cost.start[:, 0], drawn_by, strict=True)
        return [self._anchors.sequences(one, config.horizon, count, generator) for one, generator in pairs]

    @cached_property
    def _imagine(self) -> Imaginer:
        """The rollout, with the weights that the run had when it was first asked for."""
        return self.run.world_model.imaginer(getattr(torch, self.config.precision), self.config.history)


def embed_observations(run: Run, seen: Sequence[Observation]) -> Tensor:
    """Latents (N, D), on the run's device, of at least one observation; frames are of one size."""
    proprio = [one.proprio for one in seen if one.proprio is not None]
    return run.embed(np.stack([one.frame for one in seen]), np.stack(proprio) if proprio else None)


def resolve_precision(run: Run, planner: PlannerConfig) -> PlannerConfig:
    """Replace the precision `auto` by the one that imagines fastest with this run on this machine.

    Raises:
        LewmError: the run is a policy.
        UsageError: the planner looks further back than the run has learned to.
    """
    model = run.world_model
    if (planner.history or 0) > model.history:
        raise UsageError(
            f"history {planner.history} is more than the {model.history} steps that {run.name} has learned to look "
            f"back at; ask for at most {model.history}"
        )
    if planner.precision != "auto":
        return planner
    fastest = "bfloat16" if fastest_dtype(model) == torch.bfloat16 else "float32"
    return planner.model_copy(update={"precision": fastest})


class RunObjective(NamedTuple):
    """An objective of a run, and the sha256 of the file of its head, if it uses one."""

    objective: Objective
    head_sha256: str | None = None


def find_objective(run: Run, planner: PlannerConfig) -> RunObjective:
    """Build the objective that a planner names, on the device of the run.

    Raises:
        MissingError: it needs a head that was not fitted yet; the error says what to type.
        LewmError: that head is damaged, or was fitted to other weights.
    """
    match planner.objective:
        case "last":
            return RunObjective(LastLatent(run.world_model))
        case "path":
            return RunObjective(WholePath(run.world_model))
        case "probe":
            stored = find_head(run, "probe")
            return RunObjective(ProbedPosition(stored.networks[FITTED].to(run.device)), stored.sha256)  # type: ignore[arg-type]
        case "reach" | "reach-imagined" | "reach-shuffled":
            stored = find_head(run, "reach")
            head = stored.networks[REACH_HEADS[planner.objective]]
            return RunObjective(Reachability(head.to(run.device)), stored.sha256)  # type: ignore[arg-type]


class RunPrior(NamedTuple):
    """A behavior prior of a run, and the sha256 of the file of its head."""

    head: PriorHead
    sha256: str


def find_prior(run: Run, name: PriorName) -> RunPrior | None:
    """Read a prior, on the device of the run; None if none is asked for.

    Raises MissingError, LewmError: see `find_objective`.
    """
    if not name:
        return None
    stored = find_head(run, "prior")
    head = stored.networks[SHUFFLED if name == "shuffled" else FITTED]
    return RunPrior(head.to(run.device), stored.sha256)  # type: ignore[arg-type]


@torch.inference_mode()
def roll_prior(
    model: WorldModel, head: PriorHead, starts: Tensor, goals: Tensor, config: PlannerConfig
) -> Sequence[Prior]:
    """Imagine what a prior would do from latents (E, D) towards goals (E, D), one block after the other."""
    latents, means, stds, history = [starts], list[Tensor](), list[Tensor](), config.history or model.history
    for step in range(config.horizon):
        if step:
            window = slice(max(0, step - history), None)
            acted = model.embed_actions(torch.stack(means, dim=1))[:, window]
            latents.append(model.predict(torch.stack(latents[window], dim=1), acted)[:, -1])
        mean, std = head(latents[-1], goals)
        means, stds = [*means, mean], [*stds, std]
    every = zip(torch.stack(means, dim=1).cpu(), torch.stack(stds, dim=1).cpu(), strict=True)
    return [Prior(mean, std) for mean, std in every]


def normalized_bounds(run: Run) -> Bounds:
    """Compute the bounds of a run's normalized action blocks: the task's action space, else what was recorded.

    Raises:
        LewmError: neither is known.
    """
    inputs = run.card.inputs
    known = known_bounds(inputs)
    if known is None:
        raise LewmError(
            f"{run.name} was trained on a recording whose action space is not known (task {inputs.task}, "
            f"{inputs.actions.dim} action dimensions), so plans cannot respect its bounds; leave planner.bounds out"
        )
    low, high = (np.array(side, np.float32) for side in known[:2])
    return Bounds(_inside(inputs, low, 1), _inside(inputs, high, -1))


def _inside(inputs: Inputs, bound: npt.NDArray[np.float32], inwards: int) -> torch.Tensor:
    """A bound (A,) for every number of an action block, which stays within when it is turned back into an action."""
    numbers = inputs.actions.normalize(bound)
    while (outside := (bound - inputs.actions.denormalize(numbers)) * inwards > 0).any():
        numbers = np.where(outside, np.nextafter(numbers, np.float32(inwards * np.inf)), numbers)
    return torch.from_numpy(np.tile(numbers, inputs.frameskip))
