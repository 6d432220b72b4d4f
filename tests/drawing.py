"""Simulators that draw with MuJoCo, and the reason to skip where an extra or a renderer is not installed."""

from ctypes.util import find_library
from importlib.util import find_spec

import pytest

from lewm_cli.errors import LewmError
from lewm_cli.tasks import Simulator, find_task

EXTRAS = {"cube": ("mujoco", "ogbench"), "reacher": ("mujoco", "dm_control")}
"""Modules of each extra."""


def drawing_simulator(name: str) -> Simulator:
    """A task's simulator; what is installed has to work.

    Raises:
        LewmError: it is, and does not.
    """
    task = find_task(name)
    try:
        task.prepare()
    except LewmError as error:
        if all(map(find_spec, EXTRAS[name])) and any(map(find_library, ("EGL", "OSMesa"))):
            raise
        pytest.skip(str(error))
    return task.make_simulator()
