"""Driving a simulator towards an image: frames can be compared with it, but the state that it shows is not known."""

import time
from collections.abc import Callable

import numpy as np
from pydantic import Field, PositiveInt

from lewm_cli.config import PlannerConfig, Section
from lewm_cli.control import Observation, Policy
from lewm_cli.data import Image, resize
from lewm_cli.evaluate.evaluation import Film
from lewm_cli.plan import Plan
from lewm_cli.store import Run, RunResult
from lewm_cli.tasks import Simulator


class GoalProtocol(Section):
    """The protocol of driving a simulator towards an image."""

    budget: PositiveInt = Field(50, description="environment steps")
    seed: int = Field(42, ge=0, lt=2**63)
    planner: PlannerConfig = PlannerConfig()


class GoalImageResult(RunResult):
    """The distance from the goal image, in latent space only: there is no goal state to compare with, so no success."""

    goal: str
    start_seed: int
    frameskip: PositiveInt
    protocol: GoalProtocol
    distances: tuple[float, ...]
    """Latent cost at the start and after every environment step, (budget + 1,)."""
    distance: str
    """The latent cost in words."""
    plans: int
    seconds_per_plan: float
    iterations_per_plan: float
    """Mean over plans, of the solver."""
    flops_per_plan: float
    """Mean over plans, counted on the plain rollout."""
    seconds: float

    @property
    def nearest(self) -> int:
        """Environment steps until the goal was nearest."""
        return int(np.argmin(self.distances))


def drive_to_image(
    run: Run,
    simulator: Simulator,
    start_seed: int,
    goal: Image,
    protocol: GoalProtocol,
    advance: Callable[[int], None],
    film: Callable[[Film], None] | None = None,
) -> GoalImageResult:
    """Reset a simulator and follow the policy for the whole budget.

    Args:
        run: the model, in eval mode on its device.
        simulator: of the run's task.
        start_seed: of the reset.
        goal: a square image of any size.
        advance: gets the number of environment steps done since the last call.
        film: takes the frames.
    """
    begun = time.monotonic()
    simulator.reset(np.random.SeedSequence(start_seed))
    policy = Policy(run, goal.frame, planner=protocol.planner, seed=protocol.seed, clip=False)
    frame = simulator.frame()
    plans: list[Plan] = []
    distances, frames, path = [policy.distance(frame)], [frame], [simulator.position()]
    for _ in range(protocol.budget):
        simulator.step(policy.act(frame))
        if policy.plan is not None and (not plans or policy.plan is not plans[-1]):
            plans.append(policy.plan)
        frame = simulator.frame()
        distances.append(policy.distance(frame))
        if film:
            frames.append(frame)
            path.append(simulator.position())
        advance(1)
    if film:
        wanted = Observation(resize(goal.frame[None], len(frame))[0])
        film(Film(start_seed, list(map(Observation, frames)), wanted, np.stack(path), success=None))
    return GoalImageResult.now(
        run,
        goal=goal.name,
        start_seed=start_seed,
        frameskip=run.card.inputs.frameskip,
        protocol=protocol,
        distances=tuple(distances),
        distance=run.world_model.distance,
        plans=len(plans),
        seconds_per_plan=sum(plan.seconds for plan in plans) / len(plans),
        iterations_per_plan=sum(int(plan.iterations) for plan in plans) / len(plans),
        flops_per_plan=sum(0.0 if plan.flops is None else float(plan.flops) for plan in plans) / len(plans),
        seconds=time.monotonic() - begun,
    )
