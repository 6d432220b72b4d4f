"""Preparation for simulators on MuJoCo: the packages they need, and a back-end that draws here without a screen.

The back-end is found by trying, before mujoco is imported.
"""

import importlib.util
import os
import sys
from importlib.metadata import version

from packaging.version import Version

from lewm_cli.child import Attempt, attempt
from lewm_cli.errors import LewmError

VARIABLE = "MUJOCO_GL"
"""The environment variable by which mujoco and dm_control choose a back-end, when they are imported."""

SCENE = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom type='sphere' size='.2' rgba='1 0 0 1'/></worldbody></mujoco>"
)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 64, 64) as renderer:
    renderer.update_scene(data)
    assert renderer.render().std() > 0, "the frame is empty"
"""

SYSTEM_PACKAGES = {
    "egl": "apt-get install libegl1 libgl1-mesa-dri",
    "osmesa": "apt-get install libosmesa6",
    "glfw": "apt-get install libegl1 libgl1-mesa-dri",  # it wants a screen, EGL does not
}
"""The command that installs what each value of MUJOCO_GL needs, where none works."""

HEADLESS = ("egl", "osmesa")
"""Back-ends that need no screen, the faster one first."""

BACKEND_SECONDS = 30.0
"""Given to each: an import from a cold network disk takes long, a hung driver forever."""


def prepare_mujoco(task: str, package: str) -> None:
    """Check that a task's simulator, which imports `package`, can be imported here and can draw.

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


def try_backend(name: str, program: str = SCENE, seconds: float = BACKEND_SECONDS) -> Attempt:
    """Draw one scene with one of MuJoCo's back-ends, in a child process, because a driver may abort or hang."""
    return attempt(program, seconds=seconds, variables={VARIABLE: name})


def choose_backend() -> None:
    """Set MUJOCO_GL to a back-end that draws here, unless it is set; worker processes inherit the choice.

    Raises:
        LewmError: none draws; the error says what to install.
    """
    # Elsewhere the system's own renderer is there, and it is what mujoco takes.
    if os.environ.get(VARIABLE, "").strip() or sys.platform != "linux":
        return
    for name in HEADLESS:
        if try_backend(name).works:
            os.environ[VARIABLE] = name
            return
    raise LewmError(
        "MuJoCo cannot draw here, neither with EGL nor with OSMesa; "
        f"type: {SYSTEM_PACKAGES['egl']} (or: {SYSTEM_PACKAGES['osmesa']})"
    )
