"""Retrieval of the true goal: is the imagined latent nearest to the frame that was recorded then?"""

import numpy as np
import torch
from torch import Tensor

from lewm_cli.model import WorldModel
from lewm_cli.offline.offline_result import FIVE, GoalRetrieval, Retrieved
from lewm_cli.statistics import Difference, Rate


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
    def places(self, model: WorldModel, latents: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Counts the frames that are nearer to each of the latents (N, D) than its goal, and those that are as near."""
        gallery, found = self.latents.to(model.device), []
        for latent, start, goal in zip(latents, self._starts, self._goals, strict=True):
            apart = model.latent_cost(latent.to(model.device).expand(1, 1, -1), gallery)
            apart[start] = torch.inf
            found.append(((apart < apart[goal]).sum(), (apart == apart[goal]).sum() - 1))
        nearer, tied = np.array(found).T
        return nearer, tied


def summarize_places(nearer: np.ndarray, tied: np.ndarray, owners: np.ndarray) -> Retrieved:
    """Counts how often the goal is found, given how many frames are nearer and as near (N,); a tie is none."""
    return Retrieved(
        nearest=Rate.of(nearer + tied == 0, owners),
        among_five=Rate.of(nearer + tied < FIVE, owners),
        median_rank=float(np.median(1 + nearer + tied / 2)),
    )


def summarize_retrieval(
    horizon: int,
    frames: int,
    model: tuple[np.ndarray, np.ndarray],
    copying: tuple[np.ndarray, np.ndarray],
    untrained: tuple[np.ndarray, np.ndarray],
    owners: np.ndarray,
) -> GoalRetrieval:
    """Puts the places by a model beside those by its references; owners (N,) are the episodes of the starts."""
    found, floor = (sum(places) == 0 for places in (model, copying))
    return GoalRetrieval(
        horizon=horizon,
        frames=frames,
        model=summarize_places(*model, owners),
        copying=summarize_places(*copying, owners),
        untrained=summarize_places(*untrained, owners),
        above_copying=Difference.of(found, floor, owners),
        ranks=tuple((1 + model[0] + model[1] / 2).tolist()),
    )
