"""Plan from one image to another with a run, and save the actions if that is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lewm_cli.config import Layer
from lewm_cli.control import ImaginedPlan, imagine_plan, nondeterminism, single_planner
from lewm_cli.data import read_image
from lewm_cli.model import resolve_device
from lewm_cli.report import check_plan_file, save_plan
from lewm_cli.store import NOTHING_SAID, Foreign, Home, load_run


@dataclass(frozen=True)
class PlanRequest:
    """What to plan.

    Args:
        run: run name.
        start: image file of what is seen now.
        goal: image file of what should be seen.
        settings: of the planner, laid over those of the task's protocol.
        seed: of what the planner draws.
        device: auto, cpu, cuda or mps.
        output: file that takes the plan, .json, .csv or .npy.
        foreign: how weights of another tool are read.
    """

    run: str
    start: Path
    goal: Path
    settings: tuple[Layer, ...] = ()
    seed: int = 42
    device: str = "auto"
    output: Path | None = None
    foreign: Foreign = NOTHING_SAID


def plan_between(home: Home, request: PlanRequest, say: Callable[[str], None]) -> ImaginedPlan:
    """Plan from one image to another; no simulator and no recording is needed.

    Args:
        home: where the run lies.
        request: what to plan.
        say: told what is used.

    Raises:
        UsageError: settings or a file name that cannot mean anything.
        LewmError: no such run, or an image that cannot stand for a frame.
    """
    if request.output:
        check_plan_file(request.output)
    start, goal = read_image(request.start), read_image(request.goal)
    device = resolve_device(request.device)
    run = load_run(home, request.run, device, foreign=request.foreign, say=say)
    planner = single_planner(run.card.inputs.task, request.settings)
    say(f"planning: {planner.solver}, {planner.iterations} iterations of {planner.candidates} candidates on {device}")
    if said := nondeterminism(planner):
        say(f"unusual: {said}")
    plan = imagine_plan(run, start, goal, planner, request.seed)
    if request.output:
        save_plan(request.output, plan)
    return plan
