"""The plane that latents are drawn in: the first two principal components of latents of recorded frames."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from lewm_cli.data import Dataset, DecodedFrames
from lewm_cli.heads.stored_map import LatentMap, Points
from lewm_cli.store import Run
from lewm_cli.workers import available_cores

FRAMES = 1000
"""Recorded frames that span the plane, at most."""

NUMBERS = 2**24
"""Numbers of their latents, about: of the wide ones, which are slow to compute, fewer frames are taken."""

FRAMES_AT_ONCE = 64

BEYOND = 4.0
"""Imagined places may lie so many times as far out as the farthest frame; those beyond are drawn at the border."""


@dataclass(frozen=True)
class LatentPlane:
    """Two directions in latent space.

    Args:
        mean: (D,) latent at the origin.
        axes: (2, D) of length 1.
        unit: of stored places, so that 16 bits hold them.
        map: the recorded frames in it.
    """

    mean: npt.NDArray[np.floating]
    axes: npt.NDArray[np.floating]
    unit: float
    map: LatentMap

    @classmethod
    def of(cls, run: Run, dataset: Dataset) -> Self:
        """Find the plane of a run's latents of evenly spaced frames of a recording.

        Raises:
            LewmError: the recording is damaged, or lacks the proprioception that the run takes.
        """
        return cls.spanned_by(recorded_latents(run, dataset))

    @classmethod
    def spanned_by(cls, latents: npt.NDArray[np.floating]) -> Self:
        """Find the plane of latents (N, D), which become the points of its map."""
        mean = latents.mean(axis=0)
        _, spread, axes = np.linalg.svd(latents - mean, full_matrices=False)
        axes = np.pad(axes[:2], ((0, max(0, 2 - len(axes))), (0, 0)))
        spread = np.pad(spread, (0, 1))
        places = (latents - mean) @ axes.T
        unit = unit_of(places)
        x, y = (np.square(spread[:2]) / max(float(np.square(spread).sum()), 1e-30)).tolist()
        return cls(mean, axes, unit, LatentMap(method="PCA", shares=(x, y), points=Points.of(places, unit)))

    def places(self, latents: Tensor) -> Points:
        """Places (..., 2) of latents (..., D)."""
        return Points.of((as_array(latents) - self.mean) @ self.axes.T, self.unit)


def recorded_latents(run: Run, dataset: Dataset) -> npt.NDArray[np.floating]:
    """Latents (N, D) of evenly spaced frames of a recording.

    Raises:
        LewmError: the recording is damaged, or lacks the proprioception that the run takes.
    """
    frames, proprio = DecodedFrames(dataset, run.card.model.image_size), run.recorded_proprio(dataset)
    most = max(FRAMES_AT_ONCE, min(FRAMES, NUMBERS // run.world_model.config.latent_dim))
    rows = np.unique(np.linspace(0, dataset.rows - 1, most).astype(int))

    def embed(part: npt.NDArray[np.int_]) -> npt.NDArray[np.floating]:
        return as_array(run.embed(frames.rows(part), None if proprio is None else proprio[part]))

    with ThreadPoolExecutor(available_cores()) as threads:
        parts = np.array_split(rows, range(FRAMES_AT_ONCE, len(rows), FRAMES_AT_ONCE))
        return np.concatenate(list(threads.map(embed, parts)))


def unit_of(places: npt.NDArray[np.floating]) -> float:
    """The unit in which places like those of recorded frames (N, 2) are stored."""
    return max(float(np.abs(places).max()), 1e-9) * BEYOND / (2**15 - 1)


def as_array(latents: Tensor) -> npt.NDArray[np.floating]:
    """Latents as NumPy computes with them, float32."""
    found: npt.NDArray[np.floating] = latents.float().cpu().numpy()
    return found
