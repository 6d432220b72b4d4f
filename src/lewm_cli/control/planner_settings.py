"""The planner of a run outside of an evaluation: that of the task's protocol `heldout`, unless settings change it."""

from lewm_cli.config import Layer, PlannerConfig, Section, merge_layers
from lewm_cli.errors import UsageError
from lewm_cli.tasks import find_task


class PlanSettings(Section):
    """The settings of a plan that is made outside of an evaluation."""

    planner: PlannerConfig = PlannerConfig()


def nondeterminism(planner: PlannerConfig) -> str | None:
    """Explain why the same command may plan otherwise the next time; None if it cannot."""
    if planner.milliseconds is None:
        return None
    return (
        f"a plan may take {planner.milliseconds:g} ms, so how many iterations it gets, and with that what comes out, "
        "changes from run to run and from machine to machine"
    )


def task_planner(name: str, settings: tuple[Layer, ...] = ()) -> PlannerConfig:
    """Read the planner of a task's protocol `heldout`, and lay settings like `planner.iterations` over it.

    A task that is not known, or has no protocol, plans with the defaults.

    Raises:
        UsageError: settings of something else, or that cannot mean anything.
    """
    task = find_task(name)
    protocol = task.protocols.get("heldout", {}) if task else {}
    base = {key: value for key, value in protocol.items() if key in PlanSettings.model_fields}
    merged = merge_layers([Layer(f"protocol {name}/heldout", base), *settings])
    return PlanSettings.build(merged.tree, merged.source).planner


def single_planner(name: str, settings: tuple[Layer, ...] = (), chosen: tuple[Layer, ...] = ()) -> PlannerConfig:
    """Read the planner of a task for one plan that no other follows; its `receding` is the whole horizon.

    Args:
        settings: lie over those that are chosen for a run, whose planning anew is left out.

    Raises:
        UsageError: see `task_planner`; also settings of planning anew.
    """
    for layer in settings:
        planner = layer.tree.get("planner")
        for key in ("receding", "warm_start"):
            if isinstance(planner, dict) and key in planner:
                raise UsageError(
                    f"planner.{key} is about planning anew, and this is one plan; leave it out (in {layer.source})"
                )
    once = Layer("one plan", {"planner": {"receding": 1, "warm_start": False}})
    planner = task_planner(name, (once, *chosen, *settings))
    return planner.model_copy(update={"receding": planner.horizon})
