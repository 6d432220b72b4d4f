"""The environments. One folder per task; a new environment is one new folder and one line here."""

from pathlib import Path

from lewm_cli.tasks.cube import CUBE
from lewm_cli.tasks.probe_target import ProbeTarget
from lewm_cli.tasks.pusht import PUSHT
from lewm_cli.tasks.reacher import REACHER
from lewm_cli.tasks.task import FROZEN, MATCHED, REVERSED, Episode, Perturbation, Simulator, Task
from lewm_cli.tasks.tworoom import TWOROOM

TASKS = (TWOROOM, PUSHT, CUBE, REACHER)
"""Every task that has a simulator."""

GENERIC = Task(name="generic", folder=Path(__file__).parent / "generic", title="a recording without a simulator")
"""Recordings without a simulator: a robot's, or another tool's. Their runs are evaluated on recorded episodes alone."""


def find_task(name: str) -> Task | None:
    """The task with this name or alias; the generic task under its own name; None if there is none."""
    return next((task for task in (*TASKS, GENERIC) if name in (task.name, *task.aliases)), None)
