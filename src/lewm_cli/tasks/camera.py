"""One camera of a MuJoCo model. Its OpenGL context is expensive, so simulators that share a model share it."""

import atexit
import os
import warnings
from importlib import import_module
from typing import Any

import mujoco
import numpy as np

from lewm_cli.errors import LewmError
from lewm_cli.tasks.mujoco import HEADLESS, VARIABLE

MOST_GEOMS = 10_000
"""The largest number of shapes in a scene; a few hundred are there."""


class Camera:
    """Draws square frames of a state of the model, and projects points into them.

    Args:
        model: `mujoco.MjModel`; its colors may change between frames, its shapes may not.
        name: of the camera in the model.
        size: side of a frame, pixels.

    Raises:
        LewmError: MuJoCo cannot draw with the chosen back-end.
    """

    def __init__(self, model: Any, name: str, size: int) -> None:
        self._model, self._size, self._number = model, size, model.camera(name).id
        buffer = model.vis.global_
        buffer.offwidth, buffer.offheight = max(buffer.offwidth, size), max(buffer.offheight, size)
        self._view = mujoco.MjvCamera()
        self._view.type, self._view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, self._number
        self._option, self._scene = mujoco.MjvOption(), mujoco.MjvScene(model, MOST_GEOMS)
        self._rectangle = mujoco.MjrRect(0, 0, size, size)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # whatever they warn of fails below
                self._context = _context(size)
                self._context.make_current()
            self._renderer = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150.value)
        except Exception as error:  # every back-end fails in its own way
            raise LewmError(
                f"MuJoCo cannot draw with {VARIABLE}={os.environ.get(VARIABLE)} ({type(error).__name__}: {error}); "
                f"type: unset {VARIABLE}"
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._renderer)
        atexit.register(self._close)  # left to the end of the interpreter, it fails there and prints an error

    def frame(self, data: Any) -> np.ndarray:
        """The frame of a state: (size, size, 3) uint8.

        Args:
            data: `mujoco.MjData` of the model.
        """
        self._context.make_current()
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self._model, data, self._option, None, self._view, everything, self._scene)
        mujoco.mjr_render(self._rectangle, self._scene, self._renderer)
        pixels = np.empty((self._size, self._size, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, self._rectangle, self._renderer)
        return pixels[::-1].copy()  # OpenGL's rows begin at the bottom

    def project(self, data: Any, point: np.ndarray) -> np.ndarray:
        """Project a point into the frame: (2,) x and y in pixels, from its upper left corner.

        Args:
            data: `mujoco.MjData` of the model.
            point: (3,) in the world, in front of the camera.
        """
        axes = data.cam_xmat[self._number].reshape(3, 3)  # columns: right, up, backwards
        right, up, back = axes.T @ (point - data.cam_xpos[self._number])
        focal = self._size / 2 / np.tan(np.radians(self._model.cam_fovy[self._number]) / 2)
        pixel: np.ndarray = self._size / 2 + focal * np.array([right, -up]) / -back
        return pixel

    def _close(self) -> None:
        self._context.make_current()
        self._renderer.free()
        self._context.free()


def _context(size: int) -> Any:
    # By its module: the first import of mujoco decides mujoco.GLContext, maybe before a back-end was chosen.
    chosen = os.environ.get(VARIABLE, "").strip().lower()
    module = import_module(f"mujoco.{chosen}") if chosen in HEADLESS else mujoco
    return module.GLContext(size, size)
