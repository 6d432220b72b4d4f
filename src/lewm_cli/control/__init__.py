"""Control: actors that turn frames and goals into actions, first of all the planner with a run."""

from typing import TYPE_CHECKING

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.control.actor import Actions, Actor, ActorEpisode, Frame, Observation
    from lewm_cli.control.clock import Clock, TimeSplit
    from lewm_cli.control.control_loop import (
        Clipped,
        ControlLoop,
        Drive,
        Held,
        Late,
        LoopEvent,
        Overrun,
        Planned,
        Robot,
        Unlike,
    )
    from lewm_cli.control.imagined import ImaginedPlan, imagine_plan
    from lewm_cli.control.lerobot_arm import LeRobotArm
    from lewm_cli.control.limits import ActionLimits, Clip, Limited
    from lewm_cli.control.planner_settings import nondeterminism, single_planner, task_planner
    from lewm_cli.control.policy import Goal, LimitCounts, Look, OnUnlike, Policy, Seen
    from lewm_cli.control.policy_actor import PolicyActor
    from lewm_cli.control.prior_actor import PriorActor
    from lewm_cli.control.random_actor import ActionSampler, NoActionActor, RandomActor
    from lewm_cli.control.real_time import RealTime
    from lewm_cli.control.run_actor import find_actor, find_protocol_actor, settle_planner
    from lewm_cli.control.run_planner import (
        PlannedEpisode,
        Planner,
        embed_observations,
        find_objective,
        find_prior,
        resolve_precision,
    )
    from lewm_cli.control.swm_solver import SwmSolver
else:
    __getattr__ = lazy_names(__name__)

__all__ = [
    "ActionLimits",
    "ActionSampler",
    "Actions",
    "Actor",
    "ActorEpisode",
    "Clip",
    "Clipped",
    "Clock",
    "ControlLoop",
    "Drive",
    "Frame",
    "Goal",
    "Held",
    "ImaginedPlan",
    "Late",
    "LeRobotArm",
    "LimitCounts",
    "Limited",
    "Look",
    "LoopEvent",
    "NoActionActor",
    "Observation",
    "OnUnlike",
    "Overrun",
    "Planned",
    "PlannedEpisode",
    "Planner",
    "Policy",
    "PolicyActor",
    "PriorActor",
    "RandomActor",
    "RealTime",
    "Robot",
    "Seen",
    "SwmSolver",
    "TimeSplit",
    "Unlike",
    "embed_observations",
    "find_actor",
    "find_objective",
    "find_prior",
    "find_protocol_actor",
    "imagine_plan",
    "nondeterminism",
    "resolve_precision",
    "settle_planner",
    "single_planner",
    "task_planner",
]
