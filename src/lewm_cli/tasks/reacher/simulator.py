"""The real Reacher simulator, driven by plain arrays."""

from functools import cache

import numpy as np

from lewm_cli.tasks.mujoco_simulator import MujocoSimulator, Scene
from lewm_cli.tasks.reacher.match import joint_errors, matches
from lewm_cli.tasks.swm import Row, make_environment, refused_state

STEPS = 200
"""Environment steps per episode; the released episodes have 201 rows."""

FAR_APART = 0.5
"""Radians that a joint has to turn from start to goal in a pair that is called far apart."""

LEAST_JUMP = 0.1
"""Meters that a teleport moves the finger at least; the arm is 24 cm long."""

NO_GOAL = np.full(4, np.nan)
"""The goal until `begin`; no pose is near it."""

FLOOR = np.array([51.0, 76.0, 102.0])
"""The lighter of the two colors of the floor, RGB levels."""


@cache
def reacher_scene() -> Scene:
    """The scene of this process; the arm can be recolored."""
    environment = make_environment("swm/ReacherDMControl-v0", task="qpos_match")
    environment.reset(seed=0)  # it gives the model its colors and compiles it again
    model = environment.env.physics.model.ptr
    return Scene(environment, model, "fixed", model.mat_rgba, [model.material("self").id], [FLOOR])


class ReacherSimulator(MujocoSimulator):
    """stable_worldmodel's `swm/ReacherDMControl-v0`; joint angles in radians, places in meters.

    Its own `step` ends an episode inside a step and begins another one in the next. Here the physics is stepped
    directly and goes on from where it is, with the simulator's rule kept: the step that reaches the goal stops there.
    To the success criterion `wrapped` a whole turn makes no other pose.
    """

    def __init__(self) -> None:
        scene = reacher_scene()
        self._task = scene.environment.env.task
        self._physics = scene.environment.env.physics.copy(share_model=True)
        super().__init__(scene, self._physics.data.ptr, NO_GOAL)
        self._arrived = False

    def _demonstrated(self, began: None, seed: np.random.SeedSequence) -> tuple[list[Row], list[np.ndarray]]:
        """Record uniform random actions; every reset is taken."""
        generator = np.random.default_rng(seed)
        rows, actions = [self._row(0.0, truncated=False)], []
        for step in range(1, STEPS + 1):
            actions.append(self.random_action(generator))
            rows.append(self._row(self._advance(actions[-1]), truncated=step == STEPS))
        return rows, actions

    def begin(self, start: np.ndarray, goal: np.ndarray) -> None:
        """Place the arm; start and goal (4,) are angles, then velocities, and of the goal only the angles count."""
        self._place(start)
        if not np.allclose(self._state, start):
            raise refused_state(f"Reacher did not take the recorded state {start.tolist()}")
        self._color, self._goal, self._arrived = self._scene.color, np.array(goal, float), False

    def step(self, action: np.ndarray) -> None:
        """Advance one environment step; action (2,), clipped to [-1, 1] by the simulator."""
        self._advance(action)

    def position(self) -> np.ndarray:
        """The finger tip (2,), pixels."""
        return self._scene.project(self._data, self._physics.named.data.geom_xpos["finger"])

    def distance(self) -> float:
        """The larger of the two angles to the goal, radians."""
        return float(self._errors().max())

    def solved(self) -> bool:
        """Tell if every joint is within 0.05 rad of the goal (the simulator's own rule compares raw angles)."""
        return matches(self._errors())

    def groups(self, start: np.ndarray, goal: np.ndarray) -> tuple[str, ...]:
        """Pairs in which a joint has a long way to go."""
        far = joint_errors(start[:2], goal[:2]).max() >= FAR_APART
        return (f"at least {FAR_APART} rad apart",) if far else ()

    def _advance(self, action: np.ndarray) -> float:
        """One environment step; the rewards of its substeps, summed."""
        reward = 0.0
        for _ in range(self._environment.action_repeat):
            self._physics.set_control(np.asarray(action, float))
            self._physics.step()
            reward += self._task.get_reward(self._physics)
            if not self._arrived and self.solved():
                self._arrived = True
                break
        return reward

    def _row(self, reward: float, *, truncated: bool) -> Row:
        parts = self._task.get_observation(self._physics).values()
        return {
            "pixels": self.frame(),
            "observation": np.concatenate([part.ravel() for part in parts]).astype(np.float32),
            "qpos": self._data.qpos.copy(),
            "qvel": self._data.qvel.copy(),
            "target_pos": self._physics.named.data.geom_xpos["target", :2].copy(),
            "finger_pos": self._finger_tip(),
            "reward": np.float32(reward),
            "success": np.float32(np.nan),  # as released: without a goal there is none
            "terminated": False,
            "truncated": truncated,
        }

    def _reset(self, seed: np.random.SeedSequence, *, any_start: bool) -> None:
        self._color, self._goal = self._scene.color, NO_GOAL
        # As the environment's own reset does: dm_control's tasks have no public way to be seeded again.
        self._task._random = np.random.RandomState(int(seed.generate_state(1)[0]))
        with self._physics.reset_context():
            self._task.initialize_episode(self._physics)

    def _place(self, state: np.ndarray) -> None:
        with self._physics.reset_context():
            self._data.qpos[:], self._data.qvel[:] = state[:2], state[2:]

    def _errors(self) -> np.ndarray:
        return joint_errors(self._data.qpos, self._goal[:2], wrap_shoulder=self._criterion == "wrapped")

    def _teleport(self, generator: np.random.Generator, size: float | None) -> float:  # it has no arena
        before = self._finger_tip()
        low, high = self._physics.named.model.jnt_range["wrist"]
        while True:
            self._data.qpos[:] = generator.uniform([-np.pi, low], [np.pi, high])
            self._physics.forward()
            jump = float(np.linalg.norm(self._finger_tip() - before))
            if jump >= LEAST_JUMP:
                return 100 * jump

    def _finger_tip(self) -> np.ndarray:
        return np.array(self._physics.named.data.geom_xpos["finger", :2])
