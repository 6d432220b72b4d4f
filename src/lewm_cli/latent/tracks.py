"""Tracks: recorded episodes as a model steps through them, and their latents."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Dataset
from lewm_cli.heads import Recorded, View, in_parts


@dataclass(frozen=True)
class Tracks:
    """Frames a model step apart, episode after episode.

    Args:
        rows: (N,) rows of the recording.
        owners: (N,) episode number of each.
        frameskip: rows from one to the next within an episode.
    """

    rows: np.ndarray
    owners: np.ndarray
    frameskip: int

    @property
    def episodes(self) -> np.ndarray:
        """Their numbers (E,), in order."""
        return np.unique(self.owners)

    def steps_apart(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Places (M,) among the N of frames that are so many model steps apart within an episode."""
        first = np.arange(max(0, len(self.rows) - steps))
        first = first[self.owners[first] == self.owners[first + steps]]
        return first, first + steps


def draw_tracks(dataset: Dataset, episodes: np.ndarray, frameskip: int, *, frames: int, seed: int) -> Tracks:
    """Draws whole episodes until there are about as many frames as asked for; two at least, if there are two."""
    shuffled = np.random.default_rng(seed).permutation(episodes)
    lengths = -(-dataset.lengths[shuffled] // frameskip)
    taken = max(2, int(np.searchsorted(lengths.cumsum(), frames, side="right")))
    rows, owners = [], []
    for number in np.sort(shuffled[:taken]):
        steps = np.arange(0, dataset.lengths[number], frameskip)
        rows.append(dataset.offsets[number] + steps)
        owners.append(np.full(len(steps), number))
    return Tracks(np.concatenate(rows), np.concatenate(owners), frameskip)


def encode(view: View, recorded: Recorded, tracks: Tracks, advance: Callable[[int], None]) -> Tensor:
    """Latents (N, D) of tracks, float64 on the CPU."""
    parts = []
    for part in in_parts(tracks.rows):
        parts.append(view(*recorded.rows(part)).double().cpu())
        advance(len(part))
    return torch.cat(parts)
