"""The real PushT simulator and its demonstrators, driven by plain arrays."""

from types import SimpleNamespace

import cv2
import numpy as np

from lewm_cli.tasks.pusht.pusher import Pusher
from lewm_cli.tasks.swm import Row, SwmSimulator, direction, make_environment, refused_state, tries

STEPS = 124
"""Environment steps per episode, so 125 rows: the mean of the released episodes."""

ARENA = (20.0, 491.0)
"""Bounds within which the agent's disk touches no wall, both coordinates, pixels of 512."""

FAR_APART = 75.0
"""Pixels of 512 that agent and block at least jump; 33 in the frame."""

REACH = 20.0
"""Pixels of 512 that agent and block together may be away from their goals."""

TURN = np.pi / 9
"""Radians that the block may be turned away from its goal."""

TAKEN = 1e-3
"""The largest difference, pixels and radians, between a state and what the simulator made of it, in float64."""


class PushTSimulator(SwmSimulator):
    """stable_worldmodel's `swm/PushT-v1` with its WeakPolicy, and a scripted pusher.

    States (7,) are agent x, y, block x, y, block angle in [0, 2 pi), agent velocity x, y; lengths in pixels of 512.
    The simulator's own success criterion asks that agent and block are within 20 pixels of their goals together, and
    the block within 20 degrees of its; `tight` that the block is within 10 pixels and 10 degrees, too.
    """

    def __init__(self) -> None:
        environment = make_environment("swm/PushT-v1")
        super().__init__(environment)
        import pygame
        from stable_worldmodel.envs.pusht import WeakPolicy
        from stable_worldmodel.envs.utils import DrawOptions

        self._canvas = pygame.Surface((environment.window_size, environment.window_size))
        self._drawing, self._draw_polygon = DrawOptions(self._canvas), pygame.draw.polygon
        self._pusher = Pusher(environment, ARENA)
        self._policy = WeakPolicy()
        # It acts on batches only, and this is one.
        space = SimpleNamespace(shape=(1, *environment.action_space.shape))
        self._policy.set_env(SimpleNamespace(envs=[environment], spec=environment.spec, action_space=space))

    def _demonstrated(self, began: None, seed: np.random.SeedSequence) -> tuple[list[Row], list[np.ndarray]]:
        """Record the demonstrator for 124 steps; it has no goal and never ends early."""
        act = self._act
        if self._demonstrator == "pusher":
            self._pusher.begin(seed)
            act = self._pusher.act
        else:
            self._policy.set_seed(seed)
        rows, actions = [self._row()], []
        for _ in range(STEPS):
            actions.append(act())
            self.step(actions[-1])
            rows.append(self._row())
        return rows, actions

    def begin(self, start: np.ndarray, goal: np.ndarray) -> None:
        """Place agent and block, every other property of the world being the default one.

        How the block moves is not recorded; it comes to move as the agent, which touches it with its velocity, has it.
        """
        self._goal = goal.astype(np.float64)
        still = np.array([*self._goal[:5], 0.0, 0.0])
        # What reset draws for its own use is the goal's frame.
        self._environment.reset(seed=0, options={"state": still, "goal_state": still, "variation": ()})
        self._environment._set_goal_state(self._goal)
        self._place(start)
        taken = self._state
        if not (np.allclose(np.delete(taken, 4), np.delete(start, 4), atol=TAKEN) and turn(taken, start) < TAKEN):
            raise refused_state(
                f"PushT did not take the recorded state {start.tolist()} but made {taken.tolist()} of it"
            )

    def step(self, action: np.ndarray) -> None:
        """Advance one environment step; action (2,), the agent is drawn to its place + 100 x action and not clipped."""
        self._environment.step(action)

    def frame(self) -> np.ndarray:
        """The camera's frame: (224, 224, 3) uint8.

        It is what the environment's `render` gives, bit for bit, in under half of its time: drawn on one canvas, which
        is read as it lies in memory.
        """
        environment, space = self._environment, self._environment.variation_space
        self._canvas.fill(space["background"]["color"].value)
        if space["rendering"]["render_goal"].value:
            goal = environment._get_goal_pose_body(environment.goal_pose)
            for shape in environment.block.shapes:
                corners = [goal.local_to_world(corner).int_tuple for corner in shape.get_vertices()]
                self._draw_polygon(self._canvas, space["goal"]["color"].value, [*corners, corners[0]])
        for part in ("agent", "block"):
            environment._set_body_color(getattr(environment, part), space[part]["color"].value.tolist())
        environment.space.debug_draw(self._drawing)
        stored = np.frombuffer(self._canvas.get_buffer().raw, np.uint8).reshape(*self._canvas.get_size(), 4)
        small = cv2.resize(stored, (environment.render_size, environment.render_size))
        return np.ascontiguousarray(small[..., 2::-1])  # stored as blue, green, red and nothing

    def goal_frame(self) -> np.ndarray:
        """The same world with agent and block at the goal: (224, 224, 3) uint8."""
        return np.asarray(self._environment._goal)

    def proprio(self) -> np.ndarray:
        """The agent's place and velocity (4,); at a start they are the recorded ones."""
        return _proprio(self._state)

    def goal_proprio(self) -> np.ndarray:
        """Those of the recorded goal state (4,), in which the agent may move."""
        return _proprio(self._goal)

    def position(self) -> np.ndarray:
        """The agent's center (2,), pixels of the frame."""
        environment = self._environment
        return np.asarray(self._state[:2] * environment.render_size / environment.window_size)

    def distance(self) -> float:
        """Agent and block to their goals, as one vector of four coordinates, pixels of 512."""
        return gap(self._state, self._goal)

    def solved(self) -> bool:
        """Tell if agent and block are at their goals."""
        state, goal = self._state, self._goal
        if self._criterion == "tight" and block_has_to_move(state, goal, tolerance=0.5):
            return False
        return reached(state, goal)

    def groups(self, start: np.ndarray, goal: np.ndarray) -> tuple[str, ...]:
        """Pairs that ask for pushing, and pairs whose block is within reach of its goal already."""
        return ("block has to move",) if block_has_to_move(start, goal) else ("block may stay",)

    @property
    def _state(self) -> np.ndarray:
        return np.asarray(self._environment._get_obs())

    def _place(self, state: np.ndarray) -> None:
        environment = self._environment
        environment._setup()  # a new space: contacts and the block's velocity would outlast a change of place
        state = state.astype(np.float64)
        # Setting a state runs one physics step, so it is set where the agent was one before.
        environment._set_state(np.array([*(state[:2] - state[5:] * environment.dt), *state[2:]]))

    def _reset(self, seed: np.random.SeedSequence, *, any_start: bool) -> None:
        """Unless `any_start`, draw until nothing touches: the simulator's own resets let the agent lie in the block."""
        generator = np.random.default_rng(seed)
        while True:
            observation, _ = self._environment.reset(seed=int(generator.integers(2**31)))
            start = _rounded(observation["state"])  # so that the recorded state is where the episode really starts
            if any_start or self._is_free(start):
                break
        self.begin(start, start)

    def _row(self) -> Row:
        state = _rounded(self._state)
        return {"pixels": self.frame(), "proprio": _proprio(state), "state": state}

    def _is_free(self, state: np.ndarray) -> bool:
        """Enter a state, and tell if nothing touches in it."""
        self._place(state)
        return bool(self._environment.n_contact_points == 0)

    def _act(self) -> np.ndarray:
        """The weak policy's action, drawn towards a place between the walls: they do not hold the agent."""
        agent, scale = self._state[:2], self._environment.action_scale
        target = agent + scale * self._policy.get_action({})[0]
        return np.asarray((np.clip(target, *ARENA) - agent) / scale, np.float32)

    def _teleport(self, generator: np.random.Generator, size: float | None) -> float:
        before, parts = self._state, self._environment.variation_space.spaces
        places = [parts[name]["start_position"] for name in ("agent", "block")]
        touching = self._environment.n_contact_points > 0  # and so it may after a jump of a chosen size
        # Where one of them is out of the arena already, as far out as it is.
        near, far = min(ARENA[0], before[:4].min()), max(ARENA[1], before[:4].max())
        for _ in tries():
            jump_to = np.stack([generator.uniform(space.low, space.high) for space in places])
            if size is not None:
                jumps = size / np.sqrt(2) * np.stack([direction(generator), direction(generator)])
                jump_to = before[:4].reshape(2, 2) + jumps
                if not near <= jump_to.min() <= jump_to.max() <= far:
                    continue
            after = np.concatenate([*jump_to, before[4:]])
            jumps = np.linalg.norm((after - before)[:4].reshape(2, 2), axis=1)
            if (size or jumps.min() >= FAR_APART) and (self._is_free(after) or (size and touching)):
                break
        return gap(after, before)

    def _recolor(self, generator: np.random.Generator, *, from_any: bool = False) -> float:
        return self._recolor_part(generator, "block", "agent", "goal", "background", from_any=from_any)


def gap(state: np.ndarray, goal: np.ndarray) -> float:
    """Distance of agent and block together, as one vector of four coordinates; states (7,), pixels of 512."""
    return float(np.linalg.norm(state[:4] - goal[:4]))


def turn(state: np.ndarray, goal: np.ndarray) -> float:
    """Angle between the blocks of two states (7,), the short way around: radians in [0, pi]."""
    return float(abs((state[4] - goal[4] + np.pi) % (2 * np.pi) - np.pi))


def reached(state: np.ndarray, goal: np.ndarray) -> bool:
    """Tell if agent and block are at the goal; velocities do not matter."""
    return gap(state, goal) < REACH and turn(state, goal) < TURN


def block_has_to_move(state: np.ndarray, goal: np.ndarray, tolerance: float = 1.0) -> bool:
    """Tell if the block is farther from its goal than the simulator's rule allows, times `tolerance`."""
    away = float(np.linalg.norm(state[2:4] - goal[2:4]))
    return away >= tolerance * REACH or turn(state, goal) >= tolerance * TURN


def _proprio(state: np.ndarray) -> np.ndarray:
    """The agent's place and velocity (4,) in a state (7,), float32."""
    return state[[0, 1, 5, 6]].astype(np.float32)


def _rounded(state: np.ndarray) -> np.ndarray:
    """A state as it is recorded: float32, which would round the angles just below 2 pi up to it."""
    rounded = state.astype(np.float32)
    rounded[4] %= np.float32(2 * np.pi)
    return rounded
