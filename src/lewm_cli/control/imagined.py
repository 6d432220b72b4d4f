"""A plan between two images with the costs that the model imagines; nothing moves, so there is no success."""

import time

import numpy as np
import torch
from pydantic import PositiveInt

from lewm_cli.config import PlannerConfig
from lewm_cli.control.actor import Observation
from lewm_cli.control.run_planner import Planner
from lewm_cli.data import Image
from lewm_cli.store import Run, RunResult


class ImaginedPlan(RunResult):
    """Actions from one image to another, and the imagined cost of every step, by the planner's objective."""

    start: str
    goal: str
    frameskip: PositiveInt
    planner: PlannerConfig
    distance: str
    """The latent cost of the model in words, which the objectives `last` and `path` are about."""
    anchored: bool
    """True if a recorded frame on the way to the goal is aimed at, and costs are about that."""
    seed: int
    actions: tuple[tuple[float, ...], ...]
    """(horizon * frameskip, A), in the environment's units."""
    action_names: tuple[str, ...]
    """One per dimension; `action_0`, ... where nobody named them."""
    standing_still: float
    """Cost of the start itself."""
    costs: tuple[float, ...]
    """After every model step of the plan, (horizon,)."""
    zero_action_costs: tuple[float, ...]
    """After every model step if every action is 0 in the environment's units, (horizon,)."""
    seconds_per_plan: float
    iterations_per_plan: int
    """Iterations of the solver."""
    flops_per_plan: float
    """Operations of the plain rollout."""


def imagine_plan(run: Run, start: Image, goal: Image, planner: PlannerConfig, seed: int) -> ImaginedPlan:
    """Plan from one square image of any size to another.

    Raises:
        LewmError: bounds are asked for and not known, or the objective needs a head that is not there or does not fit.
    """
    actor, inputs = Planner(run, planner), run.card.inputs
    latents = actor.embed([Observation(start.frame)]), actor.embed([Observation(goal.frame)])
    begun = time.monotonic()
    cost = actor.latent_cost(*latents)
    plan = actor.solver.solve(actor.problem(cost, [torch.Generator().manual_seed(seed)], begun=begun))
    zeros = np.zeros((actor.config.horizon * inputs.frameskip, inputs.actions.dim))
    blocks = torch.cat([plan.actions, torch.from_numpy(inputs.blocks_of(zeros))[None]])
    both = actor.latent_cost(*(latent.expand(2, -1) for latent in latents))
    (standing_still, *costs), (_, *zero_action_costs) = run.finite(both.along(blocks)).tolist()
    return ImaginedPlan.now(
        run,
        start=start.name,
        goal=goal.name,
        frameskip=inputs.frameskip,
        planner=actor.config,
        distance=run.world_model.distance,
        anchored=not torch.equal(cost.goal, latents[1]),
        seed=seed,
        actions=tuple(map(tuple, actor.actions_of(plan.actions)[0].tolist())),
        action_names=inputs.dimensions,
        standing_still=standing_still,
        costs=tuple(costs),
        zero_action_costs=tuple(zero_action_costs),
        seconds_per_plan=plan.seconds,
        iterations_per_plan=int(plan.iterations),
        flops_per_plan=0.0 if plan.flops is None else float(plan.flops),
    )
