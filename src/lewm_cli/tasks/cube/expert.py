"""OGBench's scripted expert as stable_worldmodel wraps it, for one environment and with a seed that decides all."""

from types import SimpleNamespace
from typing import Any

import numpy as np

KIND = "plan_oracle"
"""Follows a noisy plan through keyframes. With it pairs 25 steps apart come out as in the released recording: 35 % of
120 are solved at the start (released: 38 %), 48 % by random actions (48 %). With the other kind 75 % are at the start.
"""


class CubeExpert:
    """Picks the block up, puts it at the target, moves to a random place, and so on; with noise.

    Args:
        environment: stable_worldmodel's, unwrapped.
        seed: of the noise and of the places.
    """

    def __init__(self, environment: Any, seed: np.random.SeedSequence) -> None:
        # Late: whoever made the environment has imported stable_worldmodel, quietly.
        from stable_worldmodel.envs.ogbench import ExpertPolicy

        noise, places = seed.spawn(2)
        self._policy, self._steps = ExpertPolicy(KIND), 0
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
