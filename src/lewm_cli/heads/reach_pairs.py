"""Pairs of frames, encoded or imagined, and classes of the time between them: the nearer the goal, the narrower."""

from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from lewm_cli.heads.imagination import ImaginedLatents
from lewm_cli.heads.latents import LatentEpisodes

GROWTH = 1.2
"""Ratio of one edge of the classes to the next, where that is more than one model step."""

BEYOND = 1.5
"""Distance of frames of different episodes, in longest episodes."""


@dataclass(frozen=True)
class FramePairs:
    """Pairs of frames, both of one episode.

    Args:
        latents: (P, D) of the earlier frames, encoded or imagined.
        earlier, later: (P,) places among the latents; may be the same.
        owners: (P,) which of the episodes, counted from 0.
        steps: (P,) environment steps from one to the other.
    """

    latents: Tensor
    earlier: Tensor
    later: Tensor
    owners: Tensor
    steps: Tensor

    @classmethod
    def cat(cls, *parts: Self) -> Self:
        """All of these, in their order."""
        return cls(*(torch.cat([getattr(part, one.name) for part in parts]) for one in fields(cls)))


@dataclass(frozen=True)
class Distances:
    """Classes of distances in time.

    Args:
        edges: (C - 2,) model steps at which one class ends and the next begins.
        steps: (C,) model steps that each class stands for; the last is that of frames of different episodes.
    """

    edges: Tensor
    steps: Tensor

    @classmethod
    def up_to(cls, longest: float) -> "Distances":
        """Builds the classes for episodes of so many model steps, at least one."""
        edges = [0.5]
        while (following := max(edges[-1] + 1, edges[-1] * GROWTH)) < longest:
            edges.append(following)
        ends = torch.tensor([0.0, *edges, max(longest, edges[-1])])
        middles = (ends[1:] + ends[:-1]) / 2
        return cls(torch.tensor(edges), torch.cat([middles, torch.tensor([BEYOND * longest])]))

    @property
    def beyond(self) -> int:
        """The class of frames of different episodes."""
        return len(self.steps) - 1

    def classes(self, distances: Tensor) -> Tensor:
        """The class of each distance, in model steps."""
        return torch.bucketize(distances, self.edges, right=True)


def draw_pairs(episodes: LatentEpisodes, count: int, generator: torch.Generator) -> FramePairs:
    """Draws pairs of frames: every episode alike, however long, and every frame of it alike."""
    owners = torch.randint(len(episodes.numbers), (count,), generator=generator)
    places = torch.rand(2, count, generator=generator, dtype=torch.float64)
    inside = (places * torch.from_numpy(episodes.lengths)[owners]).long()
    earlier, later = inside.amin(dim=0), inside.amax(dim=0)
    starts = torch.from_numpy(episodes.starts)[owners]
    earlier, later = starts + earlier, starts + later
    return FramePairs(episodes.latents[earlier], earlier, later, owners, later - earlier)


def draw_imagined_pairs(
    episodes: LatentEpisodes, imagined: ImaginedLatents, count: int, generator: torch.Generator
) -> FramePairs:
    """Draws pairs as `draw_pairs` does, but of latents that were imagined in place of the earlier frames."""
    starts, lengths = torch.from_numpy(episodes.starts), torch.from_numpy(episodes.lengths)
    owners = torch.bucketize(imagined.places, starts, right=True) - 1
    # Of two frames of an episode that many pairs, in either order, have this one as the earlier.
    pairs = 2 * ((starts + lengths)[owners] - imagined.places) - 1
    drawn = torch.multinomial(pairs / lengths[owners].double().square(), count, replacement=True, generator=generator)
    steps = ((torch.rand(count, generator=generator, dtype=torch.float64) * pairs[drawn] + 1) / 2).long()
    earlier = imagined.places[drawn]
    return FramePairs(imagined.latents[drawn], earlier, earlier + steps, owners[drawn], steps)


def draw_strangers(episodes: LatentEpisodes, owners: Tensor, generator: torch.Generator) -> Tensor:
    """Draws a frame of another episode for each of these (P,); of the same one if there is no other."""
    count = len(episodes.numbers)
    others = (owners + torch.randint(1, max(2, count), (len(owners),), generator=generator)) % count
    inside = torch.rand(len(owners), generator=generator, dtype=torch.float64)
    return torch.from_numpy(episodes.starts)[others] + (inside * torch.from_numpy(episodes.lengths)[others]).long()
