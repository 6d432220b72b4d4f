"""Tries everything that draws in a child process: TwoRoom's own renderer, videos, and MuJoCo's back-ends."""

import importlib.util
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from lewm_cli.child import Attempt, attempt
from lewm_cli.doctor.finding import Finding, State
from lewm_cli.doctor.packages import IMPORTED_EVERYWHERE, install
from lewm_cli.tasks.mujoco import BACKEND_SECONDS, SCENE, SYSTEM_PACKAGES, VARIABLE, try_backend

SIMULATOR = """
import numpy as np
from lewm_cli.tasks import find_task
simulator = find_task("tworoom").make_simulator()
simulator.begin(np.array([60.0, 60.0], np.float32), np.array([160.0, 160.0], np.float32))
frame = simulator.frame()
assert frame.shape == (224, 224, 3) and frame.std() > 0, "the frame is empty"
"""

VIDEO = """
import tempfile
from pathlib import Path
import imageio.v3 as imageio
import numpy as np
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "video.mp4")
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    imageio.imwrite(path, frames, plugin="FFMPEG", fps=4, codec="libx264")
    assert len(imageio.imread(path, plugin="FFMPEG")) == 4, "what was written cannot be read"
"""

SIMULATOR_SECONDS, VIDEO_SECONDS = 180.0, 60.0
"""Limits of each: an import from a cold network disk takes long, a hung driver forever."""


def drawing(say: Callable[[str], None]) -> Iterator[Finding]:
    """Try everything that draws, and say what is being tried, because it takes seconds."""
    say("trying the TwoRoom simulator, about 6 s ...")
    simulator = attempt(SIMULATOR, seconds=SIMULATOR_SECONDS)
    yield _finding("TwoRoom simulator", simulator, State.BROKEN, _repair(simulator.says))
    say("trying to write a video ...")
    # With the ffmpeg of imageio-ffmpeg, as `lewm eval --video` does.
    video = attempt(VIDEO, seconds=VIDEO_SECONDS)
    yield _finding("video (ffmpeg)", video, State.WARNING, "pip install --force-reinstall imageio-ffmpeg")
    yield from backends(say)


def backends(say: Callable[[str], None]) -> Iterator[Finding]:
    """Try every value of MUJOCO_GL; a failing one gives way to one that works, if there is one."""
    if importlib.util.find_spec("mujoco") is None:
        missing = Attempt(False, "mujoco is not installed")
        for name in SYSTEM_PACKAGES:
            yield _finding(f"{VARIABLE}={name}", missing, State.OPTIONAL, 'pip install "mujoco<4"')
        return
    found = []
    for name in SYSTEM_PACKAGES:
        say(f"trying {VARIABLE}={name} ...")
        found.append(backend(name))
    working = next((finding.name for finding in found if finding.state is State.OK), None)
    for finding in found:
        yield replace(finding, advice=f"export {working}") if finding.advice and working else finding


def backend(name: str, program: str = SCENE, seconds: float = BACKEND_SECONDS) -> Finding:
    """Draw one scene, or what another Python program draws, with one of MuJoCo's back-ends, a value of MUJOCO_GL."""
    tried = try_backend(name, program, seconds)
    return _finding(f"{VARIABLE}={name}", tried, State.OPTIONAL, SYSTEM_PACKAGES[name])


def _finding(name: str, tried: Attempt, otherwise: State, advice: str) -> Finding:
    state = State.OK if tried.works else otherwise
    return Finding(name=name, state=state, says=tried.says, advice=None if tried.works else advice)


def _repair(message: str) -> str:
    if missing := re.search(r"No module named '(\w+)", message):
        module = missing.group(1)
        return install(IMPORTED_EVERYWHERE.get(module, module.replace("_", "-")))
    return install("stable-worldmodel").replace("install", "install --force-reinstall --no-deps")
