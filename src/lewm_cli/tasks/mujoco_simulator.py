"""The base of simulators on MuJoCo: a state of its own in a scene that all simulators of a process share."""

import atexit
import os
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from typing import Any

import mujoco
import numpy as np

from lewm_cli.errors import LewmError
from lewm_cli.tasks.mujoco import HEADLESS, VARIABLE
from lewm_cli.tasks.swm import SwmSimulator, other_color

FRAME = 224
"""Side of a frame, pixels."""

MOST_GEOMS = 10_000
"""The largest number of shapes in a scene; a few hundred are there."""


class Scene:
    """A compiled model, its camera, and one thing in it that can be recolored.

    It is shared because an environment and an OpenGL context for each simulator would take hundreds of megabytes.

    Args:
        environment: stable_worldmodel's, reset once so that the model is compiled.
        model: `mujoco.MjModel`; its colors may change between frames, its shapes may not.
        camera: name of the camera in the model.
        rgba: (K, 4) those colors of the model that `painted` chooses from.
        painted: rows of `rgba` that the thing is drawn in.
        others: colors (3,), RGB levels, that the thing does not take when it is recolored.
    """

    def __init__(
        self,
        environment: Any,
        model: Any,
        camera: str,
        rgba: np.ndarray,
        painted: Sequence[int],
        others: Sequence[np.ndarray],
    ) -> None:
        self.environment, self.model, self.painted, self.others = environment, model, painted, others
        self.color = 255 * rgba[painted[0], :3].copy()
        self._rgba, self._number = rgba, model.camera(camera).id

    def frame(self, data: Any, color: np.ndarray) -> np.ndarray:
        """The frame of a state, `mujoco.MjData`, the thing in a color (3,) of RGB levels: (224, 224, 3) uint8.

        Raises:
            LewmError: MuJoCo cannot draw with the chosen back-end.
        """
        self._rgba[self.painted, :3] = color / 255
        context, renderer, view, option, scene, rectangle = self._drawing
        context.make_current()
        mujoco.mjv_updateScene(self.model, data, option, None, view, mujoco.mjtCatBit.mjCAT_ALL.value, scene)
        mujoco.mjr_render(rectangle, scene, renderer)
        pixels = np.empty((FRAME, FRAME, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, rectangle, renderer)
        return pixels[::-1].copy()  # OpenGL's rows begin at the bottom

    def project(self, data: Any, point: np.ndarray) -> np.ndarray:
        """Project a point (3,) before the camera into the frame: (2,) x and y, pixels from its upper left corner."""
        axes = data.cam_xmat[self._number].reshape(3, 3)  # columns: right, up, backwards
        right, up, back = axes.T @ (point - data.cam_xpos[self._number])
        focal = FRAME / 2 / np.tan(np.radians(self.model.cam_fovy[self._number]) / 2)
        pixel: np.ndarray = FRAME / 2 + focal * np.array([right, -up]) / -back
        return pixel

    @cached_property
    def _drawing(self) -> tuple[Any, ...]:
        buffer = self.model.vis.global_
        buffer.offwidth, buffer.offheight = max(buffer.offwidth, FRAME), max(buffer.offheight, FRAME)
        view = mujoco.MjvCamera()
        view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, self._number
        chosen = os.environ.get(VARIABLE, "").strip().lower()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # whatever they warn of fails below
                # By its module: the first import of mujoco decides mujoco.GLContext, maybe before one was chosen.
                context = (import_module(f"mujoco.{chosen}") if chosen in HEADLESS else mujoco).GLContext(FRAME, FRAME)
                context.make_current()
            renderer = mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_150.value)
        except Exception as error:  # every back-end fails in its own way
            raise LewmError(
                f"MuJoCo cannot draw with {VARIABLE}={os.environ.get(VARIABLE)} ({type(error).__name__}: {error}); "
                f"type: unset {VARIABLE}"
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, renderer)

        def close() -> None:
            context.make_current()
            renderer.free()
            context.free()

        atexit.register(close)  # left to the end of the interpreter, it fails there and prints an error
        scene, rectangle = mujoco.MjvScene(self.model, MOST_GEOMS), mujoco.MjrRect(0, 0, FRAME, FRAME)
        return context, renderer, view, mujoco.MjvOption(), scene, rectangle


class MujocoSimulator(SwmSimulator):
    """A simulator in a scene that others use, too.

    Args:
        scene: shared by all simulators of the task in this process.
        data: `mujoco.MjData`, the state of this one alone.
        goal: the task's goal columns, joined, as they are before the first `begin`.
    """

    def __init__(self, scene: Scene, data: Any, goal: np.ndarray) -> None:
        super().__init__(scene.environment)
        self._scene, self._data, self._color, self._goal = scene, data, scene.color, goal

    def frame(self) -> np.ndarray:
        return self._scene.frame(self._data, self._color)

    def goal_frame(self) -> np.ndarray:
        at_goal = type(self)()  # type: ignore[call-arg]  # the simulator of a task knows its scene
        at_goal._place(self._goal)
        return at_goal.frame()

    @abstractmethod
    def _place(self, state: np.ndarray) -> None: ...

    def _recolor(self, generator: np.random.Generator, *, from_any: bool = False) -> float:
        before = self._color
        self._color = other_color(generator, *self._scene.others, *([] if from_any else [before]))
        return float(np.linalg.norm(self._color - before))

    @property
    def _state(self) -> np.ndarray:
        return np.concatenate([self._data.qpos, self._data.qvel])
