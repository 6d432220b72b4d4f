"""Pairs of frames, and how far they are apart in time."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lewm_cli.store import LatentEpisodes


@dataclass(frozen=True)
class FramePairs:
    """Pairs of latents, both of one episode.

    Args:
        earlier, later: (P,) places among the latents; may be the same.
        owners: (P,) which of the episodes, counted from 0.
        steps: (P,) environment steps from one to the other.
    """

    earlier: Tensor
    later: Tensor
    owners: Tensor
    steps: Tensor


def draw_pairs(episodes: LatentEpisodes, count: int, generator: torch.Generator) -> FramePairs:
    """Draw pairs of frames: every episode alike, however long, and every frame of it alike."""
    owners = torch.randint(len(episodes.numbers), (count,), generator=generator)
    places = torch.rand(2, count, generator=generator, dtype=torch.float64)
    inside = (places * torch.from_numpy(episodes.lengths)[owners]).long()
    earlier, later = inside.amin(dim=0), inside.amax(dim=0)
    starts = torch.from_numpy(episodes.starts)[owners]
    return FramePairs(starts + earlier, starts + later, owners, later - earlier)


def draw_strangers(episodes: LatentEpisodes, owners: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a frame of another episode for each of these (P,); of the same one if there is no other."""
    count = len(episodes.numbers)
    others = (owners + torch.randint(1, max(2, count), (len(owners),), generator=generator)) % count
    inside = torch.rand(len(owners), generator=generator, dtype=torch.float64)
    return torch.from_numpy(episodes.starts)[others] + (inside * torch.from_numpy(episodes.lengths)[others]).long()
