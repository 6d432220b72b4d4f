"""Control: actors that turn frames and goals into actions, first of all the planner with a run."""

from typing import TYPE_CHECKING

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.control.actor import Actions, Actor, ActorEpisode, Frame, Observation
    from lewm_cli.control.clock import Clock, TimeSplit
    from lewm_cli.control.imagined import ImaginedPlan, imagine_plan
    from lewm_cli.control.planner_settings import nondeterminism, single_planner, task_planner
    from lewm_cli.control.policy import Policy
    from lewm_cli.control.policy_actor import PolicyActor
    from lewm_cli.control.random_actor import ActionSampler, NoActionActor, RandomActor
    from lewm_cli.control.run_actor import find_actor, settle_planner
    from lewm_cli.control.run_planner import (
        PlannedEpisode,
        Planner,
        embed_observations,
        find_objective,
        resolve_precision,
    )
    from lewm_cli.control.swm_solver import SwmSolver
else:
    __getattr__ = lazy_names(__name__)

__all__ = [
    "ActionSampler",
    "Actions",
    "Actor",
    "ActorEpisode",
    "Clock",
    "Frame",
    "ImaginedPlan",
    "NoActionActor",
    "Observation",
    "PlannedEpisode",
    "Planner",
    "Policy",
    "PolicyActor",
    "RandomActor",
    "SwmSolver",
    "TimeSplit",
    "embed_observations",
    "find_actor",
    "find_objective",
    "imagine_plan",
    "nondeterminism",
    "resolve_precision",
    "settle_planner",
    "single_planner",
    "task_planner",
]
