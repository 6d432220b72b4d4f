"""Nearest neighbors: whether episodes share the places of the latent space."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lewm_cli.latent.latent_result import Coverage
from lewm_cli.latent.tracks import Tracks

K = 5
"""Neighbors that a ball reaches out to, as its source has it."""

DISTANCES_AT_ONCE = 2**23


def measure_coverage(latents: Tensor, tracks: Tracks, seed: int) -> Coverage | None:
    """Density and coverage between two random halves of the episodes, both ways round; None if one is too small.

    A ball counts frames of the same episode too. So where every episode keeps to itself the balls are small and the
    other half is outside, and where episodes pass through the same places it is inside.

    Source: Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models, ICML 2020 (arXiv:2002.09797).
    """
    shuffled = np.random.default_rng(seed).permutation(tracks.episodes)
    half = np.isin(tracks.owners, shuffled[: len(shuffled) // 2])
    one, other = latents[half], latents[~half]
    if min(len(one), len(other)) <= K:
        return None
    found = np.mean([_compare(one, other), _compare(other, one)], axis=0)
    return Coverage(coverage=float(found[0]), density=float(found[1]))


def nearest_elsewhere(latents: Tensor, tracks: Tracks) -> np.ndarray:
    """Places (N,) of the nearest latent of another episode, for each of (N, D); there must be two episodes."""
    found = []
    owners = torch.from_numpy(tracks.owners)
    for rows, distances in _distances(latents, latents):
        found.append(distances.masked_fill_(owners[rows, None] == owners, torch.inf).argmin(dim=1))
    return torch.cat(found).numpy()


def _compare(one: Tensor, other: Tensor) -> tuple[float, float]:
    """Coverage of latents (N, D) by others (M, D), and the density of these among them."""
    covered, inside = 0, 0
    radii = torch.cat([distances.kthvalue(K + 1, dim=1).values for _, distances in _distances(one, one)])  # 0 to itself
    for rows, distances in _distances(one, other):
        within = distances < radii[rows, None]
        covered += int(within.any(dim=1).sum())
        inside += int(within.sum())
    return covered / len(one), inside / (K * len(other))


def _distances(one: Tensor, other: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Distances between latents (N, D) and others (M, D), some rows at a time."""
    at_once = max(1, DISTANCES_AT_ONCE // len(other))
    for start in range(0, len(one), at_once):
        rows = slice(start, min(start + at_once, len(one)))
        yield rows, torch.cdist(one[rows], other)
