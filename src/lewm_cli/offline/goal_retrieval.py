"""Retrieval of the true goal: is the imagined latent nearest to the frame that was recorded then?"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lewm_cli.model import WorldModel
from lewm_cli.offline.offline_result import FIVE, GoalRetrieval, Retrieved
from lewm_cli.statistics import Difference, Rate


@dataclass(frozen=True)
class Places:
    """Places of the goals of N starts: how many frames are nearer, and how many others as near."""

    nearer: np.ndarray
    tied: np.ndarray

    def within(self, count: int) -> np.ndarray:
        """True (N,) where the goal is among so many nearest frames, whatever becomes of ties."""
        found: np.ndarray = self.nearer + self.tied < count
        return found

    @property
    def ranks(self) -> np.ndarray:
        """Rank (N,) of the goal, 1 if it is the nearest; a tie counts half."""
        ranks: np.ndarray = 1 + self.nearer + self.tied / 2
        return ranks


class Gallery:
    """Recorded frames among which the goals of N starts are looked for: all of these starts and goals, each once.

    Args:
        starts, goals: (N,) rows.
        of_starts, of_goals: (N, D) their latents.
    """

    def __init__(self, starts: np.ndarray, goals: np.ndarray, of_starts: Tensor, of_goals: Tensor) -> None:
        rows, first = np.unique(np.concatenate([starts, goals]), return_index=True)
        self.latents = torch.cat([of_starts, of_goals])[torch.from_numpy(first)]
        self._starts, self._goals = np.searchsorted(rows, starts), np.searchsorted(rows, goals)

    @property
    def frames(self) -> int:
        """Frames among which one goal is looked for; its own start is none of them."""
        return len(self.latents) - 1

    @torch.inference_mode()
    def places(self, model: WorldModel, latents: Tensor) -> Places:
        """Finds the place of each goal by the distance of frames from latents (N, D)."""
        gallery, found = self.latents.to(model.device), []
        for latent, start, goal in zip(latents, self._starts, self._goals, strict=True):
            apart = model.latent_cost(latent.to(model.device).expand(1, 1, -1), gallery)
            apart[start] = torch.inf
            found.append(((apart < apart[goal]).sum(), (apart == apart[goal]).sum() - 1))
        return Places(*np.array(found).T)


def summarize_retrieval(
    horizon: int, frames: int, model: Places, copying: Places, untrained: Places, owners: np.ndarray
) -> GoalRetrieval:
    """Puts the places by a model beside those by its references; owners (N,) are the episodes of the starts."""

    def retrieved(places: Places) -> Retrieved:
        return Retrieved(
            nearest=Rate.of(places.within(1), owners),
            among_five=Rate.of(places.within(FIVE), owners),
            median_rank=float(np.median(places.ranks)),
        )

    return GoalRetrieval(
        horizon=horizon,
        frames=frames,
        model=retrieved(model),
        copying=retrieved(copying),
        untrained=retrieved(untrained),
        above_copying=Difference.of(model.within(1), copying.within(1), owners),
        ranks=tuple(model.ranks.tolist()),
    )
