"""The real Cube simulator and its scripted expert, driven by plain arrays."""

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from lewm_cli.errors import LewmError
from lewm_cli.tasks.color import other_color
from lewm_cli.tasks.cube.expert import CubeExpert
from lewm_cli.tasks.cube.scene import BLOCK, POSITIONS, cube_scene
from lewm_cli.tasks.task import Episode

STEPS = 200
"""Environment steps per episode; the released episodes have 201 rows."""

WITHIN = 0.04
"""Meters within which the block has to be of its goal: the simulator's own threshold."""

TIGHTER = 0.03
"""The same by the success criterion `tight`, which others have proposed."""

LEAST_JUMP = 0.1
"""Meters that a teleport moves the block at least; its edges are 4 cm long."""

RECORDED = (
    *("control", "time", "qpos", "qvel", "prev_qpos", "prev_qvel", "target", "success"),
    *(f"privileged/block_0_{what}" for what in ("pos", "quat", "yaw")),
    *(f"privileged/target_block{what}" for what in ("", "_pos", "_yaw")),
    *(f"proprio/{what}" for what in ("effector_pos", "effector_yaw", "joint_pos", "joint_vel")),
    *(f"proprio/gripper_{what}" for what in ("opening", "vel", "contact")),
)
"""The simulator's values that become columns, with _ for /."""


class CubeSimulator:
    """stable_worldmodel's `swm/OGBCube-v0` with one block; places in meters."""

    def __init__(self) -> None:
        self._scene = cube_scene()
        self._data = self._scene.new_state()
        self._color = self._scene.color
        self._goal = np.zeros(0)  # until `begin`
        self._within = WITHIN

    def demonstrate(self, seed: np.random.SeedSequence, *, any_start: bool) -> Episode:
        """Record the noisy expert from a reset on, the reset frame included; every reset is taken.

        A plan takes about half an episode. After it the simulator asks for the same target again, and the expert
        lifts the block once more and puts it back.
        """
        reset_seed, expert_seed = seed.spawn(2)
        observation, info = self._reset(reset_seed)
        expert = CubeExpert(self._environment, expert_seed)
        rows, actions = [_Row(self.frame(), observation, info, reward=0.0)], []
        for _ in range(STEPS):
            actions.append(expert.act(info))
            observation, reward, _, _, info = self._environment.step(actions[-1])
            rows.append(_Row(self.frame(), observation, info, reward))
        actions.append(np.full_like(actions[0], np.nan))
        return Episode(
            pixels=np.stack([row.pixels for row in rows]),
            action=np.stack(actions),
            columns={
                "observation": np.stack([row.observation for row in rows]),
                **{name.replace("/", "_"): np.stack([row.info[name] for row in rows]) for name in RECORDED},
                "reward": np.array([row.reward for row in rows], np.float32),
                "terminated": np.zeros(len(rows), bool),
                "truncated": np.arange(len(rows)) == STEPS,
            },
        )

    def reset(self, seed: np.random.SeedSequence) -> None:
        """Place arm and block where a demonstration with this seed begins."""
        reset_seed, _ = seed.spawn(2)
        self._reset(reset_seed)

    def judge_by(self, criterion: str) -> None:
        """Choose the success criterion: `simulator`, 4 cm, or `tight`, 3 cm."""
        self._within = TIGHTER if criterion == "tight" else WITHIN

    def begin(self, start: np.ndarray, goal: np.ndarray) -> None:
        """Place arm and block; start and goal (41,) are `qpos`, then `qvel`, and of the goal only the block counts."""
        self._place(start)
        target = np.asarray(goal, float)[BLOCK]
        self._environment.set_target_pos(0, target[:3], target[3:])
        if not (np.allclose(self._state, start) and np.allclose(self._target, target[:3])):
            raise LewmError(
                f"Cube did not take the recorded state {start.tolist()} with the block's goal {target[:3].tolist()}; "
                "the simulator differs from the one that recorded it: reinstall stable-worldmodel==0.1.1"
            )
        self._color, self._goal = self._scene.color, np.array(goal, float)

    def step(self, action: np.ndarray) -> None:
        """Advance one environment step; action (5,), clipped to [-1, 1]."""
        self._environment.step(np.clip(action, -1, 1))

    def frame(self) -> np.ndarray:
        """The camera's frame: (224, 224, 3) uint8."""
        return self._scene.frame(self._data, self._color)

    def goal_frame(self) -> np.ndarray:
        """Arm and block at the goal: (224, 224, 3) uint8."""
        at_goal = CubeSimulator()
        at_goal._place(self._goal)
        return at_goal.frame()

    def perturb(self, name: str, generator: np.random.Generator) -> float:
        """Move the block to a free place on the table at least 10 cm away (`teleport`), or recolor it (`color`).

        Returns:
            the jump in cm, or the distance between the colors in RGB levels.
        """
        return {"teleport": self._teleport, "color": self._recolor}[name](generator)

    def position(self) -> np.ndarray:
        """The point between the fingers of the gripper (2,), pixels."""
        return self._scene.seen_at(self._data)

    def distance(self) -> float:
        """Block to its goal, meters."""
        return float(np.linalg.norm(self._data.qpos[BLOCK][:3] - self._target))

    def solved(self) -> bool:
        """Tell if the block is within 4 cm of its goal (the simulator's own rule), or 3 by the criterion `tight`."""
        return self.distance() <= self._within

    def random_action(self, generator: np.random.Generator) -> np.ndarray:
        """A uniform draw (5,) from the action space."""
        space = self._environment.action_space
        return np.asarray(generator.uniform(space.low, space.high), np.float32)

    def groups(self, start: np.ndarray, goal: np.ndarray) -> tuple[str, ...]:
        """Pairs whose start is not a solution already: the block has to be moved."""
        way = np.linalg.norm(start[BLOCK][:3] - goal[BLOCK][:3])
        return ("block has to be moved",) if way > WITHIN else ()

    def route_valid(self, path: np.ndarray) -> None:
        """Nothing is in the way that the simulator does not know."""

    def _reset(self, seed: np.random.SeedSequence) -> tuple[np.ndarray, dict[str, Any]]:
        """Reset as the environment does, but with a seed, which it does not pass on, and without compiling."""
        from stable_worldmodel.envs.ogbench.cube_env import DEFAULT_VARIATIONS
        from stable_worldmodel.spaces import reset_variation_space

        variations, arm = seed.spawn(2)
        self._color = self._scene.color
        mujoco.mj_resetData(self._scene.model, self._data)
        mujoco.mj_forward(self._scene.model, self._data)
        environment = self._environment
        environment.np_random = np.random.default_rng(arm)
        number = int(variations.generate_state(1)[0])
        reset_variation_space(environment.variation_space, number, {}, DEFAULT_VARIATIONS)
        environment.initialize_episode()
        mujoco.mj_forward(self._scene.model, self._data)
        return environment.compute_observation(), environment.get_reset_info()

    def _place(self, state: np.ndarray) -> None:
        mujoco.mj_resetData(self._scene.model, self._data)
        self._environment.set_state(state[:POSITIONS], state[POSITIONS:])
        self._put_bodies_where_they_are_recorded()

    def _put_bodies_where_they_are_recorded(self) -> None:
        """Move what is drawn and measured, but not the joints, one physics step (2 ms) back.

        A physics step moves the joints last, and bodies only follow in the next one. So between steps, where frames
        are recorded and controls are computed, bodies are where the joints were one physics step ago.
        """
        model, data = self._scene.model, self._data
        joints = data.qpos.copy()
        mujoco.mj_integratePos(model, data.qpos, data.qvel, -model.opt.timestep)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        data.qpos[:] = joints

    def _teleport(self, generator: np.random.Generator) -> float:
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
        geoms, table = self._scene.block_geoms, 0
        pairs = [tuple(contact.geom) for contact in self._data.contact]
        others = [geom for pair in pairs if set(pair) & set(geoms) for geom in pair if geom not in geoms]
        return all(self._scene.model.geom_bodyid[other] == table for other in others)

    def _recolor(self, generator: np.random.Generator) -> float:
        before = self._color
        self._color = other_color(generator, before, *self._scene.floor_colors)
        return float(np.linalg.norm(self._color - before))

    @property
    def _environment(self) -> Any:
        return self._scene.with_state(self._data)

    @property
    def _state(self) -> np.ndarray:
        return np.concatenate([self._data.qpos, self._data.qvel])

    @property
    def _target(self) -> np.ndarray:
        return np.asarray(self._data.mocap_pos[0])


@dataclass(frozen=True)
class _Row:
    pixels: np.ndarray
    observation: np.ndarray
    info: dict[str, Any]
    reward: float
