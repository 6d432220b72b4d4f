"""Latents as small models see them: whole, or along principal components where they are very wide."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Frames
from lewm_cli.heads.latents import FRAMES_AT_ONCE
from lewm_cli.store import Run

View = Callable[[np.ndarray, np.ndarray | None], Tensor]
"""Turns frames (N, H, W, 3) uint8, and proprioception (N, P) for a run that takes it, into features (N, D)."""

FITTED_FRAMES = 2000
"""Training frames that principal components are found in."""

WIDEST = 512
"""Latents of more dimensions, those of patch tokens, are probed through so many of their principal components."""

SPARE = 8
"""Components found and not kept: the last ones of a randomized decomposition are inexact."""


@dataclass(frozen=True)
class Recorded:
    """A recording as a run sees it: frames and, if it takes it, proprioception (N, P) of all rows."""

    frames: Frames
    proprio: np.ndarray | None

    def rows(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Frames (K, H, W, 3) and proprioception (K, P) of the given rows."""
        return self.frames.rows(rows), None if self.proprio is None else self.proprio[rows]


@dataclass(frozen=True)
class LatentView:
    """The latents of a run as they are probed: whole, or along their first principal components."""

    run: Run
    components: "Components | None"

    def __call__(self, frames: np.ndarray, proprio: np.ndarray | None) -> Tensor:
        """Shows frames to probes, as any `View` does."""
        return self.of(self.run.embed(frames, proprio))

    def of(self, latents: Tensor) -> Tensor:
        """Shows latents (N, D) to probes: (N, K)."""
        return self.components.of(latents.float().cpu()) if self.components else latents


@dataclass(frozen=True)
class Components:
    """Principal components: mean (D,) and axes (D, K) of what they were found in."""

    mean: Tensor
    axes: Tensor

    def of(self, values: Tensor) -> Tensor:
        """Coordinates (N, K) of values (N, D) along them."""
        return (values - self.mean) @ self.axes


def latent_view(run: Run, recorded: Recorded, train: np.ndarray, seed: int) -> LatentView:
    """The latents of a run as they are probed: whole, or along components that are found in these rows (M,)."""
    width, whole = probed_width(run), LatentView(run, None)
    if width == run.world_model.config.latent_dim:
        return whole
    found = find_components(lambda *seen: whole(*seen).float().cpu(), recorded, train, width, seed)
    return LatentView(run, found)


def probed_width(run: Run) -> int:
    """Numbers per frame that probes see."""
    return min(run.world_model.config.latent_dim, WIDEST)


def in_parts(rows: np.ndarray) -> list[np.ndarray]:
    """Rows (N,) in parts that are encoded at once."""
    return np.array_split(rows, range(FRAMES_AT_ONCE, len(rows), FRAMES_AT_ONCE))


def find_components(view: View, recorded: Recorded, train: np.ndarray, width: int, seed: int) -> Components:
    """The first principal components of a view in some of these rows (M,)."""
    chosen = np.sort(np.random.default_rng(seed).permutation(train)[:FITTED_FRAMES])
    fitted = torch.cat([view(*recorded.rows(part)) for part in in_parts(chosen)])
    mean = fitted.mean(dim=0)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        found = min(width + SPARE, *fitted.shape)
        _, _, axes = torch.pca_lowrank(fitted - mean, q=found, center=False, niter=4)
    return Components(mean, axes[:, :width])
