"""Drive a run's simulator towards an image instead of a recorded goal."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lewm_cli.config import Layer, merge_layers
from lewm_cli.control import nondeterminism, resolve_precision
from lewm_cli.data import read_image
from lewm_cli.evaluate import HELD_OUT, Film, GoalImageResult, GoalProtocol, drive_to_image
from lewm_cli.flows.evaluate import simulated_task
from lewm_cli.flows.progress import Progress
from lewm_cli.model import resolve_device
from lewm_cli.store import NOTHING_SAID, Foreign, Home, load_run
from lewm_cli.tasks import Task


@dataclass(frozen=True)
class GoalImageRequest:
    """Where from and where to.

    Args:
        run: run name.
        image: file of the goal.
        start_seed: of the simulator's reset.
        settings: laid over the task's protocol.
        device: auto, cpu, cuda or mps.
        foreign: how weights of another tool are read.
    """

    run: str
    image: Path
    start_seed: int = 0
    settings: tuple[Layer, ...] = ()
    device: str = "auto"
    foreign: Foreign = NOTHING_SAID


def drive_run(
    home: Home,
    request: GoalImageRequest,
    say: Callable[[str], None],
    progress: Progress,
    video: Callable[[Film], None] | None = None,
) -> GoalImageResult:
    """Reset the simulator of a run's task, and plan towards an image; nothing is stored.

    Args:
        home: where the run lies.
        request: where from and where to.
        say: told what is used.
        progress: shows the environment steps done.
        video: takes what the camera saw.

    Raises:
        UsageError: settings that cannot mean anything.
        LewmError: no such run, no simulator or one for other actions, or an image that cannot stand for a frame.
    """
    goal = read_image(request.image)
    device = resolve_device(request.device)
    run = load_run(home, request.run, device, foreign=request.foreign, say=say)
    instead = f"plan between two images: lewm plan {run.name} --start IMG --goal IMG"
    task = simulated_task(run, f"there is nothing to drive; {instead}")
    protocol = _protocol(task, request.settings)
    protocol = protocol.model_copy(update={"planner": resolve_precision(run, protocol.planner)})
    if said := nondeterminism(protocol.planner):
        say(f"unusual: {said}")
    with progress("driving", protocol.budget, "steps") as advance:
        return drive_to_image(run, task.make_simulator(), request.start_seed, goal, protocol, advance, video)


def _protocol(task: Task, settings: tuple[Layer, ...]) -> GoalProtocol:
    """What a task's protocol `heldout` says of driving, with settings laid over it."""
    base = {key: value for key, value in task.protocols[HELD_OUT].items() if key in GoalProtocol.model_fields}
    merged = merge_layers([Layer(f"protocol {task.name}/{HELD_OUT} for a goal image", base), *settings])
    return GoalProtocol.build(merged.tree, merged.source)
