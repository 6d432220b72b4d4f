"""The real TwoRoom simulator and its scripted expert, driven by plain arrays."""

from typing import Any

import numpy as np
import torch

from lewm_cli.tasks.swm import Row, SwmSimulator, direction, make_environment, refused_state, tries
from lewm_cli.tasks.task import Approach
from lewm_cli.tasks.tworoom import GOAL_RADIUS
from lewm_cli.tasks.tworoom.walls import Walls

ACTION_NOISE = 2.0
"""Standard deviation of the Gaussian added to the expert's unit direction before clipping (released recording)."""

MAX_STEPS = 100
"""Environment steps per episode; the released episodes have at most 101 rows."""

FAR_APART = 32.0
"""Pixels between start and goal beyond which a pair is not solved by wandering."""


class TwoRoomSimulator(SwmSimulator):
    """stable_worldmodel's `swm/TwoRoom-v1` with its ExpertPolicy; positions and distances in pixels of 224.

    The simulator's own success criterion asks for 16 pixels. `swept` asks for the same in a world whose wall is solid
    along the whole way of a step, not only where it ends; `route` for a way there, in the simulator's own world, that
    kept clear of the wall.
    """

    def __init__(self) -> None:
        super().__init__(make_environment("swm/TwoRoom-v1"))
        from stable_worldmodel.envs.two_room.expert_policy import ExpertPolicy

        # action_repeat_prob has no effect in stable_worldmodel 0.1.1 (its last action is never remembered).
        self._expert = ExpertPolicy(action_noise=ACTION_NOISE)
        self._expert.set_env(self._environment)
        self._path: list[np.ndarray] = []
        self._solid = True

    def _demonstrated(self, began: Any, seed: np.random.SeedSequence) -> tuple[list[Row], list[np.ndarray]]:
        """Record the noisy expert on its way to the target."""
        observation, info = began
        self._expert.set_seed(seed)
        rows, actions = [self._row(observation, info, 0.0, terminated=False, truncated=False)], []
        while not (rows[-1]["terminated"] or rows[-1]["truncated"]):
            actions.append(self._expert.get_action(info))
            observation, reward, terminated, _, info = self._environment.step(actions[-1])
            rows.append(self._row(observation, info, reward, terminated=terminated, truncated=len(rows) == MAX_STEPS))
        return rows, actions

    def begin(self, start: np.ndarray, goal: np.ndarray) -> None:
        """Place agent and target; every other property of the world is the default one."""
        _, info = self._environment.reset(seed=0, options={"state": start, "target_state": goal, "variation": ()})
        if not (np.allclose(info["state"], start) and np.allclose(info["goal_state"], goal)):
            raise refused_state(f"TwoRoom did not take the recorded state {start.tolist()} with goal {goal.tolist()}")
        self._path, self._solid = [self.position()], True

    def step(self, action: np.ndarray) -> None:
        """Advance one environment step; action (2,), clipped to [-1, 1] by the simulator."""
        at = self.position()
        if not self._solid:
            self._environment.agent_position = torch.from_numpy(self._wanted(at, action).astype(np.float32))
        # A recorded start may overlap the wall, for the simulator lets it; it leaves as the simulator has it.
        elif self._criterion == "swept" and self._walls.free(at[None]):
            reached = self._walls.slide(at, self._wanted(at, action))
            self._environment.agent_position = torch.from_numpy(reached.astype(np.float32))
        else:
            self._environment.step(action)
        self._path.append(self.position())

    def goal_frame(self) -> np.ndarray:
        """The same world with the agent at the target: (224, 224, 3) uint8."""
        return np.asarray(self._environment._target_img.numpy().transpose(1, 2, 0))

    def perturb(self, name: str, generator: np.random.Generator, size: float | None = None) -> float:
        """Stage `teleport`, `color`, or `wall`: it stays where it is drawn and no longer holds the agent."""
        if name != "wall":
            return super().perturb(name, generator, size)
        self._solid = False
        walls = self._walls
        return float(2 * (walls.thickness // 2 + walls.radius))

    def approach(self, name: str, start: np.ndarray, steps: int) -> Approach:
        """Walk straight to the wall, from the room of the start and from its height where that is clear of the door."""
        walls, side = self._walls, -1.0 if start[0] < self._walls.center else 1.0
        clear = walls.half_door + walls.radius + 1
        y = start[1] if abs(start[1] - walls.door) >= clear else walls.door + np.copysign(clear, start[1] - walls.door)
        wall = walls.center + side * (walls.thickness // 2 + walls.radius)
        # Half as fast, and so on, where the room is too short: halves have no rounding, and it gets there exactly.
        room, pace = walls.size / 2 - abs(wall - walls.center) - self._margin, 1.0
        while steps * pace * self._speed > room:
            pace /= 2
        begins = np.array([wall + side * pace * self._speed * steps, y], np.float32)
        return Approach(begins, np.array([-side * pace, 0.0], np.float32))

    def proprio(self) -> np.ndarray:
        return self.position()

    def goal_proprio(self) -> np.ndarray:
        return np.array(self._environment.target_position.numpy())

    def position(self) -> np.ndarray:
        """The agent's center (2,), pixels."""
        return np.array(self._environment.agent_position.numpy())

    def distance(self) -> float:
        """Agent to target, pixels."""
        return float(np.linalg.norm(self.position() - self._environment.target_position.numpy()))

    def solved(self) -> bool:
        """Tell if the agent is within 16 pixels of the target, and came there on a valid route if that is asked for."""
        return self.distance() < GOAL_RADIUS and (self._criterion != "route" or self._walls.free(np.stack(self._path)))

    def groups(self, start: np.ndarray, goal: np.ndarray) -> tuple[str, ...]:
        """Pairs far apart, and pairs whose goal lies in the other room."""
        far = np.linalg.norm(start - goal) >= FAR_APART
        names = [f"at least {FAR_APART:.0f} px apart"] if far else []
        return (*names, "other room") if self._walls.separate(start, goal) else tuple(names)

    def route_valid(self, path: np.ndarray) -> bool:
        """Tell if the disk, swept along the path (T, 2), never overlaps a wall.

        The simulator itself looks at walls only where a step ends.
        """
        return self._walls.free(path)

    def _wanted(self, at: np.ndarray, action: np.ndarray) -> np.ndarray:
        """The place (2,) that an action leads to from a position (2,) if there are no walls but the outer ones."""
        far = self._environment.IMG_SIZE - self._margin
        return np.asarray(np.clip(at + np.clip(action, -1, 1) * self._speed, self._margin, far))

    def _teleport(self, generator: np.random.Generator, size: float | None) -> float:
        before, space = self.position(), self._environment.variation_space["agent"]["position"]
        near, far, stuck = self._margin, self._environment.IMG_SIZE - self._margin, not self._walls.free(before[None])
        for _ in tries():
            if size is None:
                place = generator.uniform(space.low, space.high).astype(np.float32)
                apart = np.linalg.norm(place - before) >= FAR_APART
                taken = bool(apart and self._environment._constrain_agent_not_in_wall(place))
            else:  # it may begin in the door, and overlap its edge
                place = (before + size * direction(generator)).astype(np.float32)
                taken = near <= place.min() <= place.max() <= far and (stuck or self._walls.free(place[None]))
            if taken:
                self._environment._set_state(place)
                break
        return float(np.linalg.norm(place - before))

    def _recolor(self, generator: np.random.Generator, *, from_any: bool = False) -> float:
        return self._recolor_part(generator, "agent", "background", from_any=from_any)

    @property
    def _speed(self) -> float:
        """Pixels that the agent moves at most in a step, along each axis."""
        return float(self._environment.variation_space["agent"]["speed"].value.item())

    @property
    def _margin(self) -> float:
        """Pixels that the agent's center keeps from the frame's edge."""
        return float(self._environment.BORDER_SIZE + self._walls.radius)

    @property
    def _walls(self) -> Walls:
        environment = self._environment
        return Walls(
            center=environment.wall_pos,
            thickness=environment.wall_thickness,
            door=float(environment.door_positions[0]),
            half_door=float(environment.door_sizes[0]),
            radius=float(environment.variation_space["agent"]["radius"].value.item()),
        )

    def _reset(self, seed: np.random.SeedSequence, *, any_start: bool) -> tuple[Any, dict[str, Any]]:
        """Unless `any_start`, draw until start and target lie in different rooms, at least 25 free steps apart.

        So it is in the paper; the simulator has this rule but does not apply it.
        """
        generator = np.random.default_rng(seed)
        while True:
            observation, info = self._environment.reset(seed=int(generator.integers(2**31)))
            if any_start or self._environment._constrain_target_by_min_steps(info["goal_state"]):
                self._path = [self.position()]
                return observation, info

    def _row(self, observation: Any, info: dict[str, Any], reward: float, *, terminated: bool, truncated: bool) -> Row:
        return {
            "pixels": self.frame(),
            "proprio": np.asarray(info["proprio"], np.float32),
            "pos_agent": np.asarray(info["state"], np.float32),
            "pos_target": np.asarray(info["goal_state"], np.float32),
            "observation": observation.numpy().astype(np.float64),
            "distance_to_target": np.float32(info["distance_to_target"]),
            "reward": np.float32(reward),
            "terminated": bool(terminated),
            "truncated": truncated and not terminated,
        }
