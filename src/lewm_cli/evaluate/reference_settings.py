"""What can be set about references: how much they try, and by what they plan."""

from typing import Literal, get_args

from lewm_cli.config import Layer, PlannerConfig, ReferencesConfig, Section, merge_layers
from lewm_cli.tasks import Task

PlansBy = Literal["model", "true latent", "true state"]
"""What plans are judged by: where the model imagines that they lead, or where the simulator shows that they lead, by
what is seen there or by the state."""


class ReferencesSettings(Section):
    """What can be set about references."""

    references: ReferencesConfig = ReferencesConfig()


def find_references(task: Task, settings: tuple[Layer, ...]) -> ReferencesConfig:
    """How much a task's references try, with settings laid over it.

    Args:
        task: with protocols; one whose simulator is slow says how little has to do.
        settings: of `references`, like `references.candidates`.

    Raises:
        UsageError: they set something else, or cannot mean anything.
    """
    own = {"references": task.measured.get("references", {})}
    merged = merge_layers([Layer(f"references of {task.name}", own), *settings])
    return ReferencesSettings.build(merged.tree, merged.source).references


def reference_planner(planner: PlannerConfig, config: ReferencesConfig) -> PlannerConfig:
    """A protocol's planner, with as many tries as references have."""
    return PlannerConfig(
        solver="cem",
        candidates=config.candidates,
        elites=config.elites,
        iterations=config.iterations,
        horizon=planner.horizon,
        receding=planner.receding,
        std=planner.std,
        result=planner.result,
        bounds=planner.bounds,
        precision=planner.precision,
        history=planner.history,
        objective=planner.objective,
    )


def planned_by(planner: PlannerConfig, config: ReferencesConfig) -> tuple[PlansBy, ...]:
    """What references plan by; not the model where it has planned like this already."""
    every: tuple[PlansBy, ...] = get_args(PlansBy)
    return every[1:] if reference_planner(planner, config) == planner else every
