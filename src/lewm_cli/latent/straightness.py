"""Straightness: whether latents move on along the way that they came."""

import numpy as np

from lewm_cli.latent.tracks import Tracks
from lewm_cli.statistics import Estimate

STILL = 1e-4
"""A latent step shorter than this share of the mean one has no direction: nothing moved, and the rest is rounding."""


def measure_straightness(latents: np.ndarray, tracks: Tracks) -> Estimate | None:
    """Mean cosine of successive latent steps z[t+1] - z[t], with its interval over episodes; None without two steps.

    1 on a line, 0 of a random walk, below where latents go to and fro: independent ones have -1/2.

    Source: the LeWorldModel paper; of video representations Henaff et al., Nature Neuroscience 2019.

    Args:
        latents: (N, D) float64.
        tracks: of their frames.
    """
    first, middle = tracks.steps_apart(1)
    steps = latents[middle] - latents[first]
    lengths = np.linalg.norm(steps, axis=1)
    followed = np.flatnonzero(np.diff(first) == 1)  # the next step begins where this one ends
    moved = lengths > STILL * lengths.mean() if len(lengths) else lengths > 0
    followed = followed[moved[followed] & moved[followed + 1]]
    if not len(followed):
        return None
    cosines = (steps[followed] * steps[followed + 1]).sum(axis=1) / lengths[followed] / lengths[followed + 1]
    return Estimate.of_mean(cosines, tracks.owners[first[followed]])
