"""The action space of a run's task, in normalized units."""

import numpy as np
import numpy.typing as npt
import torch

from lewm_cli.config import Inputs
from lewm_cli.errors import LewmError
from lewm_cli.plan import Bounds
from lewm_cli.store import Run
from lewm_cli.tasks import find_task


def normalized_bounds(run: Run) -> Bounds:
    """Compute the bounds of a run's normalized action blocks.

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


def _inside(inputs: Inputs, bound: npt.NDArray[np.float32], inwards: int) -> torch.Tensor:
    """A bound (A,) for every number of an action block, which stays within when it is turned back into an action."""
    numbers = inputs.actions.normalize(bound)
    while (outside := (bound - inputs.actions.denormalize(numbers)) * inwards > 0).any():
        numbers = np.where(outside, np.nextafter(numbers, np.float32(inwards * np.inf)), numbers)
    return torch.from_numpy(np.tile(numbers, inputs.frameskip))
