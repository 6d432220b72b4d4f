"""Latents of recorded episodes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Dataset, Frames
from lewm_cli.store import Run

FRAMES_AT_ONCE = 256


@dataclass(frozen=True)
class LatentEpisodes:
    """Latents of whole episodes, one after the other.

    Args:
        latents: (N, D) float32 on the CPU.
        rows: (N,) rows of the recording.
        numbers: (E,) episode numbers.
        starts: (E,) where each begins among the N.
        lengths: (E,) frames of each.
    """

    latents: Tensor
    rows: np.ndarray
    numbers: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @property
    def owners(self) -> np.ndarray:
        """(N,) episode number of each latent."""
        return np.repeat(self.numbers, self.lengths)


@dataclass(frozen=True)
class LatentSplit:
    """Episodes that a head is fitted to, and others that it is tested on; `held_out` if the run never saw these."""

    run: Run
    dataset: Dataset
    fitted: LatentEpisodes
    tested: LatentEpisodes
    held_out: bool


def encode_episodes(
    run: Run, dataset: Dataset, frames: Frames, numbers: np.ndarray, advance: Callable[[int], None]
) -> LatentEpisodes:
    """Encodes every frame of some episodes (E,), at least one; `frames` are of the model's image size."""
    lengths = dataset.lengths[numbers]
    rows = np.concatenate([dataset.offsets[number] + np.arange(dataset.lengths[number]) for number in numbers])
    latents = encode_rows(run, dataset, frames, rows, advance)
    return LatentEpisodes(latents, rows, numbers, np.cumsum(lengths) - lengths, lengths)


def encode_rows(run: Run, dataset: Dataset, frames: Frames, rows: np.ndarray, advance: Callable[[int], None]) -> Tensor:
    """Latents (N, D) of rows (N,), at least one, float32 on the CPU; `frames` are of the model's image size."""
    proprio, parts = run.recorded_proprio(dataset), []
    for start in range(0, len(rows), FRAMES_AT_ONCE):
        together = rows[start : start + FRAMES_AT_ONCE]
        beside = None if proprio is None else proprio[together]
        parts.append(run.embed(frames.rows(together), beside).float().cpu())
        advance(len(together))
    return torch.cat(parts)
