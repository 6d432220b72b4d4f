"""Simulators that draw with MuJoCo, and the reason to skip where none can be built or nothing draws."""

import pytest

from lewm_cli.errors import LewmError
from lewm_cli.tasks import Simulator, find_task


def drawing_simulator(name: str) -> Simulator:
    """A task's simulator."""
    task = find_task(name)
    try:
        task.prepare()
    except LewmError as error:
        pytest.skip(str(error))
    return task.make_simulator()
