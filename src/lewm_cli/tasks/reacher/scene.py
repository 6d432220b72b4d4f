"""The compiled arm, its task, and the camera, shared by all Reacher simulators of a process."""

from functools import cache, cached_property
from typing import Any

import numpy as np

from lewm_cli.tasks.camera import Camera
from lewm_cli.tasks.swm import make_environment

FRAME = 224
"""Side of a frame, pixels."""


class ReacherScene:
    """stable_worldmodel's environment; simulators take a state of their own in its model from here."""

    def __init__(self) -> None:
        self._environment = make_environment("swm/ReacherDMControl-v0", task="qpos_match")
        self._environment.reset(seed=0)  # it gives the model its colors and compiles it again
        self.action_space = self._environment.action_space
        self.substeps: int = self._environment.action_repeat
        self.task = self._environment.env.task
        self._original = self._environment.env.physics
        self._paint = self._original.named.model.mat_rgba["self"]
        self.color = 255 * self._paint[:3].copy()

    def new_physics(self) -> Any:
        """A state of its own, `dm_control.mujoco.Physics`."""
        return self._original.copy(share_model=True)

    def frame(self, physics: Any, color: np.ndarray) -> np.ndarray:
        """The camera's frame of a state, the arm in a color (3,) of RGB levels: (224, 224, 3) uint8."""
        self._paint[:3] = color / 255
        return self._camera.frame(physics.data.ptr)

    def finger(self, physics: Any) -> np.ndarray:
        """The finger tip in the frame: (2,) x and y, pixels."""
        return self._camera.project(physics.data.ptr, physics.named.data.geom_xpos["finger"])

    @cached_property
    def _camera(self) -> Camera:
        return Camera(self._original.model.ptr, "fixed", FRAME)


@cache
def reacher_scene() -> ReacherScene:
    """The scene of this process."""
    return ReacherScene()
