"""What a run asks of a solver: the problem in its own normalized action space."""

from collections.abc import Sequence

import numpy as np
import torch

from lewm_cli.accelerate import fastest_dtype
from lewm_cli.config import Inputs, PlannerConfig
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.model import PlanFlops
from lewm_cli.plan import Bounds, Cost, Problem, WarmStart
from lewm_cli.store import Run
from lewm_cli.tasks import find_task


def settled(run: Run, planner: PlannerConfig) -> PlannerConfig:
    """A planner with what it leaves to the machine decided: which precision imagines fastest with this run.

    Raises:
        UsageError: it looks further back than the run has learned to.
    """
    if (planner.history or 0) > run.model.history:
        raise UsageError(
            f"history {planner.history} is more than the {run.model.history} steps that {run.name} has learned to look "
            f"back at; ask for at most {run.model.history}"
        )
    if planner.precision != "auto":
        return planner
    fastest = "bfloat16" if fastest_dtype(run.model) == torch.bfloat16 else "float32"
    return planner.model_copy(update={"precision": fastest})


def ask(
    run: Run,
    planner: PlannerConfig,
    cost: Cost,
    generators: Sequence[torch.Generator],
    guesses: Sequence[WarmStart | None] = (),
) -> Problem:
    """Plans to find with a run.

    Args:
        run: whose actions are planned.
        planner: how far ahead, and whether the task's action space bounds what is tried.
        cost: of candidates, for E environments.
        generators: E of them.
        guesses: E of them, where to begin, or none.

    Raises:
        LewmError: bounds are asked for, and nobody knows them.
    """
    inputs = run.card.inputs
    return Problem(
        cost,
        inputs.block_dim,
        list(generators),
        frameskip=inputs.frameskip,
        warm_starts=list(guesses) or None,
        bounds=normalized_bounds(run) if planner.bounds else None,
        flops=PlanFlops.of(run.model, planner.horizon, planner.history),
    )


def normalized_bounds(run: Run) -> Bounds:
    """The action space of a run's task, as the planner sees it.

    Raises:
        LewmError: the run's actions are not those of a task that is known.
    """
    inputs = run.card.inputs
    task = find_task(inputs.task)
    if task is None or len(task.action_bounds) != inputs.actions.dim:
        raise LewmError(
            f"{run.name} was trained on a recording whose action space is not known (task {inputs.task}, "
            f"{inputs.actions.dim} action dimensions), so plans cannot respect its bounds; leave planner.bounds out"
        )
    low, high = (np.array(side, np.float32) for side in zip(*task.action_bounds, strict=True))
    return Bounds(_inside(inputs, low, 1), _inside(inputs, high, -1))


def _inside(inputs: Inputs, bound: np.ndarray, inwards: int) -> torch.Tensor:
    """A bound (A,) for every number of an action block, which stays within when it is turned back into an action."""
    numbers = inputs.actions.normalize(bound)
    while (outside := (bound - inputs.actions.denormalize(numbers)) * inwards > 0).any():
        numbers = np.where(outside, np.nextafter(numbers, np.float32(inwards * np.inf)), numbers)
    return torch.from_numpy(np.tile(numbers, inputs.frameskip))
