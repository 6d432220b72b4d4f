"""Settings of the references: how much they try, and the costs that they plan by."""

from typing import Literal, get_args

from lewm_cli.config import Layer, PlannerConfig, ReferencesConfig, Section, merge_layers
from lewm_cli.tasks import Task

PlansBy = Literal["model", "true latent", "true state"]
"""The cost of plans: by where the model imagines that they lead, or by where the simulator shows that they lead, there
by the latent of the frame or by the state."""


class ReferencesSettings(Section):
    """The settings of references."""

    references: ReferencesConfig = ReferencesConfig()


def find_references(task: Task, settings: tuple[Layer, ...]) -> ReferencesConfig:
    """Read how much a task's references try, and lay settings over it.

    Args:
        task: with protocols; one whose simulator is slow says how little has to do.
        settings: of `references`, like `references.candidates`.

    Raises:
        UsageError: they set something else, or cannot mean anything.
    """
    own = {"references": task.references}
    merged = merge_layers([Layer(f"references of {task.name}", own), *settings])
    return ReferencesSettings.build(merged.tree, merged.source).references


def reference_planner(planner: PlannerConfig, config: ReferencesConfig) -> PlannerConfig:
    """Build the planner of the references: the cross-entropy method with their effort and the protocol's horizons."""
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
    """List the costs that references plan by; not the model where it has planned like this already."""
    every: tuple[PlansBy, ...] = get_args(PlansBy)
    return every[1:] if reference_planner(planner, config) == planner else every
