"""Plan from one image to another with a run, and save the actions if that is asked for."""

from pathlib import Path

from lewm_cli.config import Layer
from lewm_cli.control import ImaginedPlan, imagine_plan, nondeterminism, single_planner
from lewm_cli.data import read_image
from lewm_cli.files import try_writing
from lewm_cli.flows import Progress
from lewm_cli.flows.anchors import prepare_anchors
from lewm_cli.flows.improved import improved_planner
from lewm_cli.model import resolve_device
from lewm_cli.report import check_plan_file, save_plan
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, Say, load_run


def plan_between(
    home: Home,
    name: str,
    start: Path,
    goal: Path,
    say: Say,
    progress: Progress,
    *,
    settings: tuple[Layer, ...] = (),
    seed: int = 42,
    output: Path | None = None,
    plain: bool = False,
    device: str = "auto",
    external: ExternalWeights = NO_OPTIONS,
) -> ImaginedPlan:
    """Plan from the image of the current frame to that of a goal; no simulator and no recording is needed.

    Args:
        output: file that takes the plan, .json, .csv or .npy.
        plain: plan as the task's protocol says, whatever `lewm improve` chose.

    Raises:
        UsageError: settings or a file name that cannot mean anything.
        LewmError: no such run, one that takes proprioception, or an image that cannot stand for a frame.
    """
    if output:
        check_plan_file(output)
        try_writing(output)
    on = resolve_device(device)
    run = load_run(home, name, on, external=external, say=say)
    images = (read_image(start, run.card.inputs.framing), read_image(goal, run.card.inputs.framing))
    acting = f"lewm_cli.Policy({run.name!r}, {str(goal)!r}).act(frame)"
    run.require_world_model(f"there is no plan to show; Python has its next action for a frame: {acting}")
    run.prepare_proprio(None)  # refuses a run that sees more than an image
    chosen = improved_planner(home, run, say, plain=plain)
    planner = single_planner(run.card.inputs.task, settings, chosen)
    say(f"planning: {planner.solver}, {planner.iterations} iterations of {planner.candidates} candidates on {on}")
    if said := nondeterminism(planner):
        say(f"unusual: {said}")
    prepare_anchors(home, run, planner, say, progress)
    plan = imagine_plan(run, *images, planner, seed)
    if output:
        save_plan(output, plan)
    return plan
