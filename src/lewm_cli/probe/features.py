"""What the probes read from: the model's latents, and references that should know less."""

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Frames
from lewm_cli.store import Run

FRAMES_AT_ONCE = 256
FITTED_FRAMES = 2000
"""Training frames that principal components are found in."""


def latents(run: Run, frames: Frames, rows: np.ndarray) -> Tensor:
    """Latents (N, D) float64 of the frames at `rows`, on the CPU."""
    parts = [
        run.embed(frames.rows(rows[start : start + FRAMES_AT_ONCE])) for start in range(0, len(rows), FRAMES_AT_ONCE)
    ]
    return torch.cat(parts).double().cpu()


def pixel_components(frames: Frames, rows: np.ndarray, train: np.ndarray, width: int, seed: int) -> Tensor:
    """Coordinates (N, width) float64 along the first principal components of raw training pixels.

    Args:
        frames: at the model's image size.
        rows: (N,) which frames.
        train: (N,) bool, whose pixels the components are found in; at most 2000 of them.
        width: how many components.
        seed: which of them, and of the randomized decomposition.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(rows[train])[:FITTED_FRAMES])
    fitted = _flat(frames.rows(chosen))
    mean = fitted.mean(dim=0)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        _, _, components = torch.pca_lowrank(fitted - mean, q=width, center=False, niter=4)
    parts = [
        (_flat(frames.rows(rows[start : start + FRAMES_AT_ONCE])) - mean) @ components
        for start in range(0, len(rows), FRAMES_AT_ONCE)
    ]
    return torch.cat(parts).double()


def _flat(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames)).flatten(1).float() / 255
