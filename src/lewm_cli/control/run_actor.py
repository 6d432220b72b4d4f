"""Chooses how a run acts: a world model plans or follows its behavior prior, a policy acts by itself."""

from lewm_cli.config import EvalProtocol, PlannerConfig
from lewm_cli.control.actor import Actor
from lewm_cli.control.planner_settings import task_planner
from lewm_cli.control.policy_actor import PolicyActor
from lewm_cli.control.prior_actor import PriorActor
from lewm_cli.control.run_planner import Planner, find_prior, resolve_precision
from lewm_cli.errors import UsageError
from lewm_cli.model import GoalConditionedPolicy
from lewm_cli.store import Run


def find_actor(run: Run, planner: PlannerConfig | None = None) -> Actor:
    """The actor of a run; `planner` is for a world model only, and that of the task's protocol if not given.

    Raises:
        UsageError: settings of planning for a policy; see also `Planner`.
        LewmError: see `Planner`.
    """
    if isinstance(run.model, GoalConditionedPolicy):
        if planner:
            raise UsageError(f"{run.name} is a policy ({run.method}), which plans nothing; leave the planner out")
        return PolicyActor(run, run.model)
    return Planner(run, planner or task_planner(run.card.inputs.task))


def find_protocol_actor(run: Run, protocol: EvalProtocol) -> Actor:
    """The actor that a protocol measures; errors are those of `find_actor` and `find_prior`."""
    prior = find_prior(run, protocol.prior) if protocol.actor == "prior" else None
    return PriorActor(run, prior) if prior else find_actor(run, protocol.planner)


def settle_planner(run: Run, planner: PlannerConfig) -> PlannerConfig | None:
    """The settings that a run plans with, the precision `auto` measured; None for a policy, which plans nothing.

    Raises UsageError: see `resolve_precision`.
    """
    return None if isinstance(run.model, GoalConditionedPolicy) else resolve_precision(run, planner)
