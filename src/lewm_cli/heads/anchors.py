"""Anchors: recorded frames on the way from here to the goal, at which plans aim instead (arXiv 2609.30036)."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lewm_cli.store import Run


@dataclass(frozen=True)
class Anchors:
    """Latents and action blocks of recorded episodes, in their order.

    Args:
        latents: (N, D) of all frames, float32.
        blocks: (N, block_dim) normalized action blocks from each frame on; those that reach beyond an episode's end, or
            hold unknown actions, are never returned.
        starts, lengths: (E,) frames of each episode.
        frameskip: frames in a model step.
    """

    latents: Tensor
    blocks: Tensor
    starts: Tensor
    lengths: Tensor
    frameskip: int

    def aim(self, latent: Tensor, goal: Tensor, horizon: int) -> Tensor:
        """The latent (D,) to aim at from a latent (D,) on the way to a goal (D,).

        Of all recorded segments the one is taken that begins nearest to here and ends nearest to the goal, by the sum of
        both squared distances; at the frame `horizon` model steps after its begin is aimed, or at the goal itself if the
        segment is shorter.
        """
        begins, ends = (self._padded((self.latents - one).square().sum(dim=-1)) for one in (latent, goal))
        # The cheapest end at or after every frame, and its place.
        cheapest, places = ends.flip(1).cummin(dim=1)
        cheapest, places = cheapest.flip(1), ends.shape[1] - 1 - places.flip(1)
        found = int((begins + cheapest).argmin())
        episode, place = divmod(found, ends.shape[1])
        ahead = horizon * self.frameskip
        if int(places[episode, place]) - place <= ahead:
            return goal
        return self.latents[int(self.starts[episode]) + place + ahead]

    def sequences(self, latent: Tensor, horizon: int, count: int) -> Tensor:
        """The action sequences (count, horizon, block_dim) that were taken from the frames nearest to a latent (D,)."""
        usable = self._begins(horizon)
        near = (self.latents[usable] - latent).square().sum(dim=-1).topk(min(count, len(usable)), largest=False).indices
        rows = usable[near][:, None] + self.frameskip * torch.arange(horizon)
        found = self.blocks[rows]
        return found.repeat(-(-count // len(found)), 1, 1)[:count]

    def _begins(self, horizon: int) -> Tensor:
        ends = torch.repeat_interleave(self.starts + self.lengths, self.lengths)
        inside = torch.arange(len(self.latents)) + horizon * self.frameskip < ends
        return inside.nonzero()[:, 0]

    def _padded(self, values: Tensor) -> Tensor:
        """Values (N,) of all frames by episode (E, longest), infinite beyond the end of shorter ones."""
        padded = torch.full(self._inside.shape, torch.inf)
        padded[self._inside] = values
        return padded

    @cached_property
    def _inside(self) -> Tensor:
        return torch.arange(int(self.lengths.max())) < self.lengths[:, None]


def find_anchors(run: Run, name: str) -> Anchors:
    """TEMPORARY."""
    import os
    import pickle

    return pickle.load(open(os.environ["ANCHORS"] + "/" + run.name.replace("/", "-") + ".pkl", "rb"))
