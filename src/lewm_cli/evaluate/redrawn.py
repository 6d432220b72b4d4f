"""Recorded states drawn again, to check that the simulator is still the one that recorded them."""

from collections.abc import Callable

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt

from lewm_cli.config import Section
from lewm_cli.data import Dataset, resize
from lewm_cli.errors import LewmError
from lewm_cli.simulate import Pair, Render, SimulatorPool, gather
from lewm_cli.suggestion import command
from lewm_cli.tasks import Task

PAIRS = 8
"""Drawn again, both start and goal."""


class Redrawn(Section):
    """The difference of frames that the simulator draws of recorded states from the recorded frames."""

    frames: PositiveInt
    difference: NonNegativeFloat
    """Mean absolute difference of RGB levels over the frame that differs most."""
    alike: bool
    """It is within what the task's simulator does by itself."""


def redraw(
    simulators: SimulatorPool, task: Task, dataset: Dataset, pairs: list[Pair], say: Callable[[str], None]
) -> Redrawn:
    """Draw starts and goals of a few pairs, and compare them with the recording; that states are taken, begin checks.

    A recording at another resolution is compared at the smaller of the two.

    Raises:
        LewmError: the simulator does not take a state, or draws something else.
    """
    chosen = [pairs[number] for number in np.unique(np.linspace(0, len(pairs) - 1, PAIRS).astype(int))]
    rendered = gather([simulators.submit(number, Render(pair)) for number, pair in enumerate(chosen)])
    drawn = np.concatenate([one.frames for one in rendered])
    rows = np.array([row for pair in chosen for row in (pair.start_row, pair.goal_row)])
    recorded = dataset.read("pixels", rows)
    size = min(drawn.shape[1], recorded.shape[1])
    differences = np.abs(resize(drawn, size).astype(int) - resize(recorded, size)).mean(axis=(1, 2, 3))
    worst, fidelity = int(differences.argmax()), task.fidelity
    found = (
        f"drawn again, row {rows[worst]} of {dataset.name} differs by {differences[worst]:.3g} RGB levels on average"
    )
    if differences[worst] > fidelity.refused:
        raise LewmError(
            f"{found}, so the simulator of {task.name} is not the one that recorded it and a success rate would mean "
            "nothing; install stable-worldmodel==0.1.1, or record anew: "
            + command("collect", task.name, "--episodes", 100)
        )
    alike = bool(differences[worst] <= fidelity.alike)
    if not alike:
        video = "a video has changed the frames, or " if dataset.imported else ""
        say(
            f"WARNING: {found}, more than {fidelity.alike:g}: {video}the simulator has drifted, and the rate may have "
            "with it"
        )
    return Redrawn(frames=len(rows), difference=float(differences[worst]), alike=alike)
