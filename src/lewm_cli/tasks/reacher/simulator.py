"""The real Reacher simulator, driven by plain arrays."""

from dataclasses import dataclass

import numpy as np

from lewm_cli.errors import LewmError
from lewm_cli.tasks.color import other_color
from lewm_cli.tasks.reacher.match import joint_errors, matches
from lewm_cli.tasks.reacher.scene import reacher_scene
from lewm_cli.tasks.task import Episode

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


class ReacherSimulator:
    """stable_worldmodel's `swm/ReacherDMControl-v0`; joint angles in radians, places in meters.

    Its own `step` ends an episode inside a step and begins another one in the next. Here the physics is stepped
    directly and goes on from where it is, with the simulator's rule kept: the step that reaches the goal stops there.
    """

    def __init__(self) -> None:
        self._scene = reacher_scene()
        self._physics = self._scene.new_physics()
        self._color = self._scene.color
        self._goal = NO_GOAL
        self._arrived = False
        self._wrap_shoulder = False

    def demonstrate(self, seed: np.random.SeedSequence, *, any_start: bool) -> Episode:
        """Record uniform random actions from a reset on, the reset frame included; every reset is taken."""
        reset_seed, action_seed = seed.spawn(2)
        self._reset(reset_seed)
        generator = np.random.default_rng(action_seed)
        actions = [self.random_action(generator) for _ in range(STEPS)]
        rows = [self._row(reward=0.0)]
        for action in actions:
            reward = self._advance(action)
            rows.append(self._row(reward))
        return Episode(
            pixels=np.stack([row.pixels for row in rows]),
            action=np.stack([*actions, np.full(2, np.nan)]).astype(np.float32),
            columns={
                "observation": np.stack([row.observation for row in rows]).astype(np.float32),
                "qpos": np.stack([row.qpos for row in rows]),
                "qvel": np.stack([row.qvel for row in rows]),
                "target_pos": np.stack([row.target for row in rows]),
                "finger_pos": np.stack([row.finger for row in rows]),
                "reward": np.array([row.reward for row in rows], np.float32),
                "success": np.full(len(rows), np.nan, np.float32),  # as released: without a goal there is none
                "terminated": np.zeros(len(rows), bool),
                "truncated": np.arange(len(rows)) == STEPS,
            },
        )

    def reset(self, seed: np.random.SeedSequence) -> None:
        """Place the arm where a demonstration with this seed begins."""
        reset_seed, _ = seed.spawn(2)
        self._reset(reset_seed)

    def judge_by(self, criterion: str) -> None:
        """Choose the success criterion: `simulator`, or `wrapped`, to which a whole turn makes no other pose."""
        self._wrap_shoulder = criterion == "wrapped"

    def begin(self, start: np.ndarray, goal: np.ndarray) -> None:
        """Place the arm; start and goal (4,) are angles, then velocities, and of the goal only the angles count."""
        self._place(start)
        if not np.allclose(self._state, start):
            raise LewmError(
                f"Reacher did not take the recorded state {start.tolist()}; "
                "the simulator differs from the one that recorded it: reinstall stable-worldmodel==0.1.1"
            )
        self._color, self._goal, self._arrived = self._scene.color, np.array(goal, float), False

    def step(self, action: np.ndarray) -> None:
        """Advance one environment step; action (2,), clipped to [-1, 1] by the simulator."""
        self._advance(action)

    def frame(self) -> np.ndarray:
        """The camera's frame: (224, 224, 3) uint8."""
        return self._scene.frame(self._physics, self._color)

    def goal_frame(self) -> np.ndarray:
        """The arm at the goal: (224, 224, 3) uint8."""
        at_goal = ReacherSimulator()
        at_goal._place(self._goal)
        return at_goal.frame()

    def perturb(self, name: str, generator: np.random.Generator) -> float:
        """Move the arm to random angles, the finger at least 10 cm (`teleport`), or recolor the arm (`color`).

        Returns:
            the jump of the finger in cm, or the distance between the colors in RGB levels.
        """
        return {"teleport": self._teleport, "color": self._recolor}[name](generator)

    def position(self) -> np.ndarray:
        """The finger tip (2,), pixels."""
        return self._scene.finger(self._physics)

    def distance(self) -> float:
        """The larger of the two angles to the goal, radians."""
        return float(self._errors().max())

    def solved(self) -> bool:
        """Tell if every joint is within 0.05 rad of the goal (the simulator's own rule compares raw angles)."""
        return matches(self._errors())

    def random_action(self, generator: np.random.Generator) -> np.ndarray:
        """A uniform draw (2,) from the action space."""
        space = self._scene.action_space
        return np.asarray(generator.uniform(space.low, space.high), np.float32)

    def groups(self, start: np.ndarray, goal: np.ndarray) -> tuple[str, ...]:
        """Pairs in which a joint has a long way to go."""
        far = joint_errors(start[:2], goal[:2]).max() >= FAR_APART
        return (f"at least {FAR_APART} rad apart",) if far else ()

    def route_valid(self, path: np.ndarray) -> None:
        """There is nothing in the way."""

    def _advance(self, action: np.ndarray) -> float:
        """One environment step; the rewards of its substeps, summed."""
        reward = 0.0
        for _ in range(self._scene.substeps):
            self._physics.set_control(np.asarray(action, float))
            self._physics.step()
            reward += self._scene.task.get_reward(self._physics)
            if not self._arrived and self.solved():
                self._arrived = True
                break
        return reward

    def _reset(self, seed: np.random.SeedSequence) -> None:
        self._color, self._goal = self._scene.color, NO_GOAL
        # As the environment's own reset does: dm_control's tasks have no public way to be seeded again.
        self._scene.task._random = np.random.RandomState(int(seed.generate_state(1)[0]))
        with self._physics.reset_context():
            self._scene.task.initialize_episode(self._physics)

    def _place(self, state: np.ndarray) -> None:
        with self._physics.reset_context():
            self._physics.data.qpos[:], self._physics.data.qvel[:] = state[:2], state[2:]

    def _errors(self) -> np.ndarray:
        return joint_errors(self._physics.data.qpos, self._goal[:2], wrap_shoulder=self._wrap_shoulder)

    def _teleport(self, generator: np.random.Generator) -> float:
        before = self._finger_tip()
        low, high = self._physics.named.model.jnt_range["wrist"]
        while True:
            self._physics.data.qpos[:] = generator.uniform([-np.pi, low], [np.pi, high])
            self._physics.forward()
            jump = float(np.linalg.norm(self._finger_tip() - before))
            if jump >= LEAST_JUMP:
                return 100 * jump

    def _recolor(self, generator: np.random.Generator) -> float:
        before = self._color
        self._color = other_color(generator, before, FLOOR)
        return float(np.linalg.norm(self._color - before))

    def _finger_tip(self) -> np.ndarray:
        return np.array(self._physics.named.data.geom_xpos["finger", :2])

    @property
    def _state(self) -> np.ndarray:
        return np.concatenate([self._physics.data.qpos, self._physics.data.qvel])

    def _row(self, reward: float) -> "_Row":
        parts = self._scene.task.get_observation(self._physics).values()
        return _Row(
            pixels=self.frame(),
            observation=np.concatenate([part.ravel() for part in parts]),
            qpos=self._physics.data.qpos.copy(),
            qvel=self._physics.data.qvel.copy(),
            target=self._physics.named.data.geom_xpos["target", :2].copy(),
            finger=self._finger_tip(),
            reward=reward,
        )


@dataclass(frozen=True)
class _Row:
    pixels: np.ndarray
    observation: np.ndarray
    qpos: np.ndarray
    qvel: np.ndarray
    target: np.ndarray
    finger: np.ndarray
    reward: float
