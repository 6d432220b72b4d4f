"""Plans between two images, and episodes towards a goal image: tables, and files of the actions."""

import csv
import io
from itertools import zip_longest
from pathlib import Path
from textwrap import wrap

import numpy as np
from rich.console import RenderableType

from lewm_cli.config import ObjectiveName
from lewm_cli.control import ImaginedPlan
from lewm_cli.errors import UsageError
from lewm_cli.evaluate import GoalImageResult
from lewm_cli.files import atomic_path
from lewm_cli.report.pieces import plain_table, spent_per_plan

NUMBER = 9
"""Width of one number of an action, in letters: seven fit into a terminal of 80 columns."""

ROWS = 11
"""The largest number of rows in the table of distances, without the last step."""

_MEANING: dict[ObjectiveName, str] = {
    "last": "the {distance} to {goal}",
    "path": "the {distance} to {goal}, mean of the way there",
    "probe": "the squared distance to {goal} of the positions read off the latents",
    "reach": "the model steps that a reachability head counts to {goal}",
    "reach-imagined": "the steps to {goal} that a head counts that has seen imagined latents too",
    "reach-shuffled": "the steps to {goal} that a head counts that has learned from shuffled labels",
}


def plan_tables(plan: ImaginedPlan) -> list[RenderableType]:
    """The imagined cost of a plan, step by step, and its actions."""
    costs = plain_table("model step", "environment step", "plan", "zero actions", justify="right")
    start = plan.standing_still
    for step, pair in enumerate(zip((start, *plan.costs), (start, *plan.zero_action_costs), strict=True)):
        costs.add_row(str(step), str(step * plan.frameskip), *(f"{cost:.4g}" for cost in pair))
    actions = plain_table("step", justify="right")
    names = zip_longest(*(wrap(name, NUMBER) for name in plan.action_names), fillvalue="")
    actions.add_column("\n".join(" ".join(f"{part:>{NUMBER}}" for part in line) for line in names), overflow="fold")
    for step, action in enumerate(plan.actions):
        actions.add_row(str(step), " ".join(f"{value:{NUMBER}.4f}" for value in action))
    goal = f"a frame of {plan.planner.anchors} on the way to the goal" if plan.anchored else "the goal"
    meaning = _MEANING[plan.planner.objective].format(distance=plan.distance, goal=goal)
    return [
        f"{plan.run}: from {plan.start} to {plan.goal}",
        costs,
        f"Imagined cost, {meaning}: lower is nearer.\n{_verdict(plan)}\n"
        f"One plan on {plan.device}: {spent_per_plan(plan)}.\n",
        "Actions, in the units of the recording that the run was trained on",
        actions,
    ]


def goal_image_tables(result: GoalImageResult) -> list[RenderableType]:
    """The distance to the goal image, every few steps."""
    distances, last = result.distances, len(result.distances) - 1
    table = plain_table("environment step", "distance", "of the start", justify="right")
    apart = result.frameskip * -(-last // (result.frameskip * (ROWS - 1)))
    for step in sorted({*range(0, last + 1, apart), last}):
        share = f"{distances[step] / distances[0]:.1%}" if distances[0] else ""
        table.add_row(str(step), f"{distances[step]:.4g}", share)
    return [
        f"{result.run}: from the reset of seed {result.start_seed} towards {result.goal}",
        table,
        f"Distance: {result.distance}.\n"
        f"Nearest: {distances[result.nearest]:.4g} after {result.nearest} steps.\n"
        "No success rate: nobody knows the state that the image shows, so nobody can say\n"
        "whether it was reached.\n"
        f"{result.plans} plans on {result.device}: {spent_per_plan(result)}.",
    ]


def check_plan_file(path: Path) -> None:
    """Check that a plan can be written in the format that a file name asks for.

    Raises:
        UsageError: it is not one of those there are.
    """
    if path.suffix not in (".json", ".csv", ".npy"):
        raise UsageError(f"{str(path)!r} does not end in .json, .csv or .npy")


def save_plan(path: Path, plan: ImaginedPlan) -> None:
    """Write a plan in one step: everything as .json, the actions as .csv (one row per step) or as .npy.

    Raises:
        UsageError: the file name ends in something else.
        LewmError: the folder cannot be written or the disk is full.
    """
    check_plan_file(path)
    actions = np.array(plan.actions, np.float32)
    with atomic_path(path) as part, part.open("wb") as file:
        if path.suffix == ".json":
            file.write(f"{plan.model_dump_json(indent=2)}\n".encode())
        elif path.suffix == ".npy":
            np.save(file, actions)
        else:
            text = io.StringIO()  # names may hold commas
            rows = ((step, *action) for step, action in enumerate(actions))
            csv.writer(text, lineterminator="\n").writerows([("step", *plan.action_names), *rows])
            file.write(text.getvalue().encode())


def _verdict(plan: ImaginedPlan) -> str:
    if plan.costs[-1] < plan.standing_still:
        return f"The plan ends at {plan.costs[-1] / plan.standing_still:.1%} of standing still."
    return (
        "The plan ends NO NEARER than standing still: the model knows no way, the start is\n"
        "the goal, or the images are not like those it was trained on."
    )
