"""The compiled scene with its meshes, and the camera, shared by all Cube simulators of a process."""

from functools import cache, cached_property
from typing import Any

import mujoco
import numpy as np

from lewm_cli.tasks.camera import Camera
from lewm_cli.tasks.swm import make_environment

FRAME = 224
"""Side of a frame, pixels."""

POSITIONS = 21
"""Numbers in `qpos`: 6 joints of the arm, 8 of the gripper, place (3) and quaternion (4) of the block."""

BLOCK = slice(14, 21)
"""The block's place and quaternion in `qpos`."""


class CubeScene:
    """stable_worldmodel's environment, used by one simulator at a time, each with a state of its own.

    An environment of its own for each would take 340 MB, and its reset compiles the scene again. Private members are
    used, because the environment has no public way to exchange its state.
    """

    def __init__(self) -> None:
        self._environment = make_environment(
            "swm/OGBCube-v0",
            env_type="single",
            ob_type="states",
            multiview=False,
            height=FRAME,
            width=FRAME,
            visualize_info=False,
            terminate_at_goal=False,  # every step is recorded; our simulator tells if the goal is reached
            mode="data_collection",
        )
        self._environment.reset()  # it compiles the scene
        self.model = self._environment.model
        self.effector = self.model.site("ur5e/robotiq/pinch").id
        self.block_geoms: list[int] = self._environment._cube_geom_ids_list[0]
        self.color = 255 * self.model.geom_rgba[self.block_geoms[0], :3].copy()
        floor = self._environment.variation_space["floor"]["color"].init_value
        self.floor_colors = tuple(255 * color for color in floor)

    def new_state(self) -> Any:
        """A state of its own, `mujoco.MjData`."""
        return mujoco.MjData(self.model)

    def with_state(self, data: Any) -> Any:
        """The environment in a state, until another one is asked for."""
        self._environment._data = data
        return self._environment

    def frame(self, data: Any, color: np.ndarray) -> np.ndarray:
        """The camera's frame of a state, the block in a color (3,) of RGB levels: (224, 224, 3) uint8."""
        self.model.geom_rgba[self.block_geoms, :3] = color / 255
        return self._camera.frame(data)

    def seen_at(self, data: Any) -> np.ndarray:
        """The point between the fingers of the gripper in the frame: (2,) x and y, pixels."""
        return self._camera.project(data, data.site_xpos[self.effector])

    @cached_property
    def _camera(self) -> Camera:
        return Camera(self.model, "front_pixels", FRAME)


@cache
def cube_scene() -> CubeScene:
    """The scene of this process."""
    return CubeScene()
