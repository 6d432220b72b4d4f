"""Features that probes read: the model's latents, and references that should know less."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Frames
from lewm_cli.store import Run

FRAMES_AT_ONCE = 256
FITTED_FRAMES = 2000
"""Training frames that principal components are found in."""

SPARE = 8
"""Components found and not kept: the last ones of a randomized decomposition are inexact."""


@dataclass(frozen=True)
class Features:
    """The same N frames seen in three ways, float64 on the CPU.

    Args:
        model: (N, D) latents.
        untrained: (N, D) latents of a model of the same sizes that has learned nothing.
        pixels: (N, D) coordinates along the first principal components of raw pixels.
    """

    model: Tensor
    untrained: Tensor
    pixels: Tensor


def encode(
    run: Run, frames: Frames, rows: np.ndarray, train: np.ndarray, seed: int, advance: Callable[[int], None]
) -> Features:
    """Encodes every frame once, in three ways.

    Args:
        run: the model, in eval mode on its device.
        frames: at the model's image size.
        rows: (N,) rows of the frames.
        train: (N,) bool, true for rows whose pixels the principal components are found in; at most 2000 of them.
        seed: of the untrained model, of those frames and of the decomposition.
        advance: told the number of frames done since the last call.
    """
    untrained = run.untrained(seed)
    components = _Components.find(frames, rows[train], run.card.model.latent, seed)
    parts = []
    for start in range(0, len(rows), FRAMES_AT_ONCE):
        seen = frames.rows(rows[start : start + FRAMES_AT_ONCE])
        parts.append((run.embed(seen), untrained.embed(seen), components.project(seen)))
        advance(len(seen))
    model, reference, pixels = (torch.cat(part).double().cpu() for part in zip(*parts, strict=True))
    return Features(model, reference, pixels)


@dataclass(frozen=True)
class _Components:
    """The first principal components of raw pixels."""

    mean: Tensor
    axes: Tensor

    @classmethod
    def find(cls, frames: Frames, rows: np.ndarray, width: int, seed: int) -> "_Components":
        chosen = np.sort(np.random.default_rng(seed).permutation(rows)[:FITTED_FRAMES])
        fitted = _flat(frames.rows(chosen))
        mean = fitted.mean(dim=0)
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            found = min(width + SPARE, *fitted.shape)
            _, _, axes = torch.pca_lowrank(fitted - mean, q=found, center=False, niter=4)
        return cls(mean, axes[:, :width])

    def project(self, frames: np.ndarray) -> Tensor:
        return (_flat(frames) - self.mean) @ self.axes


def _flat(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames)).flatten(1).float() / 255
