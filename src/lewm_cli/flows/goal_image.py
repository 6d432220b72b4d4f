"""Drive a run's simulator towards an image instead of a recorded goal."""

from collections.abc import Callable
from pathlib import Path

from lewm_cli.config import Layer, merge_layers
from lewm_cli.control import nondeterminism, resolve_precision
from lewm_cli.data import read_image
from lewm_cli.evaluate import HELD_OUT, Film, GoalImageResult, GoalProtocol, drive_to_image
from lewm_cli.flows import Progress
from lewm_cli.flows.evaluate import simulated_task
from lewm_cli.model import resolve_device
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, Say, load_run


def drive_run(
    home: Home,
    name: str,
    image: Path,
    say: Say,
    progress: Progress,
    *,
    start_seed: int = 0,
    settings: tuple[Layer, ...] = (),
    video: Callable[[Film], None] | None = None,
    device: str = "auto",
    external: ExternalWeights = NO_OPTIONS,
) -> GoalImageResult:
    """Reset the simulator of a run's task by a seed, and plan towards the goal in an image file; nothing is stored.

    Args:
        settings: laid over what the task's protocol `heldout` says of driving.

    Raises:
        UsageError: settings that cannot mean anything.
        LewmError: no such run, no simulator or one for other actions, or an image that cannot stand for a frame.
    """
    goal = read_image(image)
    run = load_run(home, name, resolve_device(device), external=external, say=say)
    instead = f"plan between two images: lewm plan {run.name} --start IMG --goal IMG"
    task = simulated_task(run, f"there is nothing to drive; {instead}")
    assert task.make_simulator is not None
    base = {key: value for key, value in task.protocols[HELD_OUT].items() if key in GoalProtocol.model_fields}
    merged = merge_layers([Layer(f"protocol {task.name}/{HELD_OUT} for a goal image", base), *settings])
    protocol = GoalProtocol.build(merged.tree, merged.source)
    protocol = protocol.model_copy(update={"planner": resolve_precision(run, protocol.planner)})
    if remark := nondeterminism(protocol.planner):
        say(f"unusual: {remark}")
    with progress("driving", protocol.budget, "steps") as advance:
        return drive_to_image(run, task.make_simulator(), start_seed, goal, protocol, advance, video)
