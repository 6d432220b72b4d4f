"""What has to be there before a simulator on MuJoCo can be built."""

import importlib.util
import os
import sys
from importlib.metadata import version

from packaging.version import Version

from lewm_cli.errors import LewmError
from lewm_cli.tasks.rendering import VARIABLE, choose_backend


def prepare_mujoco(task: str, package: str) -> None:
    """Check that a task's simulator can be imported here and can draw; the extra is called like the task.

    Args:
        task: its name.
        package: the module of the simulator, which needs mujoco.

    Raises:
        LewmError: the extra is not installed, mujoco is too new, or nothing draws here.
    """
    missing = next((module for module in ("mujoco", package) if importlib.util.find_spec(module) is None), None)
    if missing and missing != "mujoco" and sys.version_info >= (3, 13):
        raise LewmError(
            f"{task} needs {missing}, which needs labmaze, and that has no release for Python 3.13; "
            "use Python 3.11 or 3.12: python3.12 -m venv venv"
        )
    if missing:
        raise LewmError(f'{task} needs {missing}, which is not installed; type: pip install "lewm-cli[{task}]"')
    here = Version(version("mujoco"))
    if here.major >= 4:
        raise LewmError(
            f"mujoco {here} is installed, and the simulator of {task} works with versions before 4 only; "
            'type: pip install "mujoco<4"'
        )
    choose_backend()
    try:
        import mujoco  # noqa: F401
    except Exception as error:  # every back-end fails to be imported in its own way
        raise LewmError(
            f"mujoco cannot be imported with {VARIABLE}={os.environ.get(VARIABLE)} "
            f"({type(error).__name__}: {' '.join(str(error).split())}); type: unset {VARIABLE}"
        ) from error
