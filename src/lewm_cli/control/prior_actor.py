"""Acting by a behavior prior alone, without planning: the floor that planning has to beat."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from lewm_cli.control.actor import Actions, Actor, ActorEpisode, Observation
from lewm_cli.control.run_planner import EPISODES_PER_CORE, RunPrior, embed_observations
from lewm_cli.model import prior_flops
from lewm_cli.store import Run
from lewm_cli.workers import available_cores


@dataclass(kw_only=True)
class PriorEpisode(ActorEpisode):
    """The state of a prior in one episode: it remembers nothing but where to go."""

    goal: Tensor
    """Latent (1, D) of the goal frame."""


class PriorActor(Actor):
    """Acts with the mean action block of a behavior prior, and looks again after each; it draws nothing.

    What it does in an episode depends on its frames alone: on a CPU bit for bit, on an accelerator but for rounding.

    Args:
        run: a world model with its normalization, in eval mode on its device.
        prior: fitted to the latents of the run.
    """

    def __init__(self, run: Run, prior: RunPrior) -> None:
        super().__init__()
        self.run, self._head, self.prior_sha256 = run, prior.head, prior.sha256
        self.steps = run.card.inputs.frameskip
        if run.device.type == "cpu":
            self.at_once = EPISODES_PER_CORE * available_cores()
        self._flops = prior_flops(run.world_model, prior.head)  # counted here, before a clock runs

    def begin(self, goals: Sequence[Observation], seeds: Sequence[int]) -> list[PriorEpisode]:
        """See `Actor`."""
        return [PriorEpisode(goal=embed_observations(self.run, [goal])) for goal in goals]

    def act(self, episodes: Sequence[PriorEpisode], seen: Sequence[Observation]) -> Sequence[Actions]:
        """See `Actor`; on a CPU each episode by itself, so that no other has a say in its rounding.

        Raises:
            LewmError: the run computes numbers that are not finite.
        """
        with self.clock("planner"):
            if self.run.device.type != "cpu":
                blocks = self._blocks(torch.cat([one.goal for one in episodes]), seen)
            else:
                with ThreadPoolExecutor(available_cores()) as pool:
                    each = pool.map(lambda one, view: self._blocks(one.goal, [view]), episodes, seen)
                    blocks = torch.cat(list(each))
        for episode in episodes:
            episode.flops += self._flops
        return [self.run.card.inputs.actions_of(block) for block in blocks.cpu().numpy()]

    @torch.inference_mode()
    def _blocks(self, goals: Tensor, seen: Sequence[Observation]) -> Tensor:
        """Normalized action blocks (E, block_dim) for what is seen and latents (E, D) of goals."""
        mean, _ = self._head(embed_observations(self.run, seen), goals)
        return self.run.finite(mean)
