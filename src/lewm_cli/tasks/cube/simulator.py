"""The real Cube simulator and its scripted expert, driven by plain arrays."""

from functools import cache
from types import SimpleNamespace
from typing import Any

import mujoco
import numpy as np

from lewm_cli.tasks.mujoco_simulator import FRAME, MujocoSimulator, Scene
from lewm_cli.tasks.swm import Row, make_environment, refused_state

STEPS = 200
"""Environment steps per episode; the released episodes have 201 rows."""

WITHIN = 0.04
"""Meters within which the block has to be of its goal: the simulator's own threshold."""

TIGHTER = 0.03
"""The same by the success criterion `tight`, which others have proposed."""

LEAST_JUMP = 0.1
"""Meters that a teleport moves the block at least; its edges are 4 cm long."""

POSITIONS = 21
"""Numbers in `qpos`: 6 joints of the arm, 8 of the gripper, place (3) and quaternion (4) of the block."""

BLOCK = slice(14, 21)
"""The block's place and quaternion in `qpos`."""

EXPERT = "plan_oracle"
"""Follows a noisy plan through keyframes. With it pairs 25 steps apart come out as in the released recording: 35 % of
120 are solved at the start (released: 38 %), 48 % by random actions (48 %). With the other kind 75 % are at the start.
"""

RECORDED = (
    *("control", "time", "qpos", "qvel", "prev_qpos", "prev_qvel", "target", "success"),
    *(f"privileged/block_0_{what}" for what in ("pos", "quat", "yaw")),
    *(f"privileged/target_block{what}" for what in ("", "_pos", "_yaw")),
    *(f"proprio/{what}" for what in ("effector_pos", "effector_yaw", "joint_pos", "joint_vel")),
    *(f"proprio/gripper_{what}" for what in ("opening", "vel", "contact")),
)
"""The simulator's values that become columns, with _ for /."""


@cache
def cube_scene() -> Scene:
    """The scene of this process with its meshes; the block can be recolored."""
    environment = make_environment(
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
    environment.reset()  # it compiles the scene
    model, floor = environment.model, environment.variation_space["floor"]["color"].init_value
    block = environment._cube_geom_ids_list[0]
    return Scene(environment, model, "front_pixels", model.geom_rgba, block, [255 * color for color in floor])


class CubeSimulator(MujocoSimulator):
    """stable_worldmodel's `swm/OGBCube-v0` with one block; places in meters.

    The simulator's own success criterion asks that the block is within 4 cm of its goal, `tight` within 3.
    """

    def __init__(self) -> None:
        scene = cube_scene()
        super().__init__(scene, mujoco.MjData(scene.model), goal=np.zeros(0))
        self._effector = scene.model.site("ur5e/robotiq/pinch").id

    def _demonstrated(self, began: Any, seed: np.random.SeedSequence) -> tuple[list[Row], list[np.ndarray]]:
        """Record the noisy expert; every reset is taken.

        A plan takes about half an episode. After it the simulator asks for the same target again, and the expert
        lifts the block once more and puts it back.
        """
        (observation, info), expert = began, CubeExpert(self._own, seed)
        rows, actions = [self._row(observation, info, 0.0, truncated=False)], []
        for step in range(1, STEPS + 1):
            actions.append(expert.act(info))
            observation, reward, _, _, info = self._own.step(actions[-1])
            rows.append(self._row(observation, info, reward, truncated=step == STEPS))
        return rows, actions

    def begin(self, start: np.ndarray, goal: np.ndarray) -> None:
        """Place arm and block; start and goal (41,) are `qpos`, then `qvel`, and of the goal only the block counts."""
        self._place(start)
        target = np.asarray(goal, float)[BLOCK]
        self._own.set_target_pos(0, target[:3], target[3:])
        if not (np.allclose(self._state, start) and np.allclose(self._target, target[:3])):
            raise refused_state(
                f"Cube did not take the recorded state {start.tolist()} with the block's goal {target[:3].tolist()}"
            )
        self._color, self._goal = self._scene.color, np.array(goal, float)

    def step(self, action: np.ndarray) -> None:
        """Advance one environment step; action (5,), clipped to [-1, 1]."""
        self._own.step(np.clip(action, -1, 1))

    def position(self) -> np.ndarray:
        """The point between the fingers of the gripper (2,), pixels."""
        return self._scene.project(self._data, self._data.site_xpos[self._effector])

    def distance(self) -> float:
        """Block to its goal, meters."""
        return float(np.linalg.norm(self._data.qpos[BLOCK][:3] - self._target))

    def solved(self) -> bool:
        """Tell if the block is near enough to its goal."""
        return self.distance() <= (TIGHTER if self._criterion == "tight" else WITHIN)

    def groups(self, start: np.ndarray, goal: np.ndarray) -> tuple[str, ...]:
        """Pairs whose start is not a solution already: the block has to be moved."""
        way = np.linalg.norm(start[BLOCK][:3] - goal[BLOCK][:3])
        return ("block has to be moved",) if way > WITHIN else ()

    def _row(self, observation: np.ndarray, info: dict[str, Any], reward: float, *, truncated: bool) -> Row:
        return {
            "pixels": self.frame(),
            "observation": observation,
            **{name.replace("/", "_"): info[name] for name in RECORDED},
            "reward": np.float32(reward),
            "terminated": False,
            "truncated": truncated,
        }

    def _reset(self, seed: np.random.SeedSequence, *, any_start: bool) -> tuple[np.ndarray, dict[str, Any]]:
        """Reset as the environment does, but with a seed, which it does not pass on, and without compiling."""
        from stable_worldmodel.envs.ogbench.cube_env import DEFAULT_VARIATIONS
        from stable_worldmodel.spaces import reset_variation_space

        variations, arm = seed.spawn(2)
        self._color = self._scene.color
        mujoco.mj_resetData(self._scene.model, self._data)
        mujoco.mj_forward(self._scene.model, self._data)
        environment = self._own
        environment.np_random = np.random.default_rng(arm)
        number = int(variations.generate_state(1)[0])
        reset_variation_space(environment.variation_space, number, {}, DEFAULT_VARIATIONS)
        environment.initialize_episode()
        mujoco.mj_forward(self._scene.model, self._data)
        return environment.compute_observation(), environment.get_reset_info()

    def _place(self, state: np.ndarray) -> None:
        model, data = self._scene.model, self._data
        mujoco.mj_resetData(model, data)
        self._own.set_state(state[:POSITIONS], state[POSITIONS:])
        # A physics step (2 ms) moves the joints last, and bodies only follow in the next one. So between steps, where
        # frames are recorded and controls are computed, bodies are where the joints were one physics step ago.
        joints = data.qpos.copy()
        mujoco.mj_integratePos(model, data.qpos, data.qvel, -model.opt.timestep)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        data.qpos[:] = joints

    def _teleport(self, generator: np.random.Generator, size: float | None) -> float:  # it has no arena
        low, high = self._environment._object_sampling_bounds
        block = self._data.qpos[BLOCK]
        before = block[:3].copy()
        self._data.qvel[POSITIONS - 7 :] = 0.0
        while True:
            block[:] = [*generator.uniform(low, high), 0.02, 1.0, 0.0, 0.0, 0.0]
            mujoco.mj_forward(self._scene.model, self._data)
            jump = float(np.linalg.norm(block[:3] - before))
            if jump >= LEAST_JUMP and self._touches_nothing():
                return 100 * jump

    def _touches_nothing(self) -> bool:
        """Tell if the block is in contact with nothing but the table."""
        geoms, table = self._scene.painted, 0
        pairs = [tuple(contact.geom) for contact in self._data.contact]
        others = [geom for pair in pairs if set(pair) & set(geoms) for geom in pair if geom not in geoms]
        return all(self._scene.model.geom_bodyid[other] == table for other in others)

    @property
    def _own(self) -> Any:
        """The shared environment in this simulator's state, until another one takes it."""
        self._environment._data = self._data
        return self._environment

    @property
    def _target(self) -> np.ndarray:
        return np.asarray(self._data.mocap_pos[0])


class CubeExpert:
    """OGBench's scripted expert as stable_worldmodel wraps it, for one environment and with a seed that decides all.

    It picks the block up, puts it at the target, moves to a random place, and so on; with noise.

    Args:
        environment: stable_worldmodel's, unwrapped.
        seed: of the noise and of the places.
    """

    def __init__(self, environment: Any, seed: np.random.SeedSequence) -> None:
        # Late: whoever made the environment has imported stable_worldmodel, quietly.
        from stable_worldmodel.envs.ogbench import ExpertPolicy

        noise, places = seed.spawn(2)
        self._policy, self._steps = ExpertPolicy(EXPERT), 0
        # It is made for several environments at once, and asks a batch of one for no more than this.
        space = SimpleNamespace(shape=(1, *environment.action_space.shape))
        self._policy.set_env(SimpleNamespace(envs=[environment], num_envs=1, action_space=space))
        self._policy.set_seed(noise)
        self._places = np.random.RandomState(places.generate_state(4)).get_state()

    def act(self, info: dict[str, Any]) -> np.ndarray:
        """The action (5,) for the `info` of the environment's last reset or step; once per step."""
        batch = {name: [[value]] for name, value in {**info, "step_idx": self._steps}.items()}
        before = np.random.get_state()
        np.random.set_state(self._places)  # OGBench draws the places from numpy's global generator
        try:
            action = self._policy.get_action(batch)[0]
        finally:
            self._places = np.random.get_state()
            np.random.set_state(before)
        self._steps += 1
        return np.asarray(action, np.float32)
