"""Acting with a policy: one forward pass turns the current frame and the goal into the next actions."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lewm_cli.control.actor import Actions, Actor, ActorEpisode, Frame, Observation
from lewm_cli.control.run_planner import EPISODES_PER_CORE
from lewm_cli.model import GoalConditionedPolicy, step_flops
from lewm_cli.store import Run
from lewm_cli.workers import available_cores


@dataclass(kw_only=True)
class PolicyEpisode(ActorEpisode):
    """The state of a policy in one episode: it remembers nothing but where to go."""

    goal: Tensor
    """The goal frame (1, 3, h, w) as the policy takes it."""


class PolicyActor(Actor):
    """Acts with the mean action of a policy, which draws nothing.

    What it does in an episode depends on its frames alone: on a CPU bit for bit, on an accelerator but for rounding.

    Args:
        run: a policy with its normalization, in eval mode on its device.
        policy: the model of the run.
    """

    def __init__(self, run: Run, policy: GoalConditionedPolicy) -> None:
        super().__init__()
        self.run, self.policy, self.steps = run, policy, run.card.inputs.frameskip
        if run.device.type == "cpu":
            self.at_once = EPISODES_PER_CORE * available_cores()
        self._flops = step_flops(policy)  # counted here, before a clock runs

    def begin(self, goals: Sequence[Observation], seeds: Sequence[int]) -> list[PolicyEpisode]:
        """See `Actor`."""
        return [PolicyEpisode(goal=self.run.prepare(goal.frame[None])) for goal in goals]

    def act(self, episodes: Sequence[PolicyEpisode], seen: Sequence[Observation]) -> Sequence[Actions]:
        """See `Actor`; on a CPU each episode by itself, so that no other has a say in its rounding.

        Raises:
            LewmError: the policy computes numbers that are not finite.
        """
        goals, frames = [one.goal for one in episodes], [one.frame[None] for one in seen]
        with self.clock("planner"):
            if self.run.device.type != "cpu":
                blocks = self._blocks(torch.cat(goals), np.concatenate(frames))
            else:
                with ThreadPoolExecutor(available_cores()) as pool:
                    blocks = torch.cat(list(pool.map(self._blocks, goals, frames)))
        for episode in episodes:
            episode.flops += self._flops
        return [self.run.card.inputs.actions_of(block) for block in blocks.cpu().numpy()]

    @torch.inference_mode()
    def _blocks(self, goals: Tensor, frames: Frame) -> Tensor:
        """Normalized action blocks (E, block_dim) for frames (E, H, W, 3) of any size and prepared goals."""
        return self.run.finite(self.policy.act(self.run.prepare(frames), goals))
