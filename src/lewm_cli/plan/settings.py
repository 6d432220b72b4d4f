"""How a run plans outside of an evaluation: as in the task's protocol `heldout`, unless something else is asked for."""

from lewm_cli.config import Layer, PlannerConfig, Section, merge_layers
from lewm_cli.tasks import find_task


class PlanSettings(Section):
    """What can be set where a plan is made and nothing is counted."""

    planner: PlannerConfig = PlannerConfig()


def varying(planner: PlannerConfig) -> str | None:
    """Why the same command may plan otherwise the next time; None if it cannot."""
    if planner.milliseconds is None:
        return None
    return (
        f"a plan may take {planner.milliseconds:g} ms, so how many iterations it gets, and with that what comes out, "
        "changes from run to run and from machine to machine"
    )


def task_planner(name: str, settings: tuple[Layer, ...] = ()) -> PlannerConfig:
    """The planner of a task's protocol `heldout`, with settings laid over it.

    Args:
        name: of the task; one that is not known, or has no protocol, plans with the defaults.
        settings: of `planner`, like `planner.iterations`.

    Raises:
        UsageError: they set something else, or cannot mean anything.
    """
    task = find_task(name)
    protocol = task.protocols.get("heldout", {}) if task else {}
    base = {key: value for key, value in protocol.items() if key in PlanSettings.model_fields}
    merged = merge_layers([Layer(f"protocol {name}/heldout", base), *settings])
    return PlanSettings.build(merged.tree, merged.source).planner
