"""The map that UMAP makes of latents of recorded frames, where the package umap-learn is installed."""

import warnings
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from lewm_cli.heads.latent_plane import as_array, unit_of
from lewm_cli.heads.stored_map import LatentMap, Points

NEIGHBORS = 15
"""Frames that every frame is to stay near to."""

SEED = 0

FARTHEST = 1e9
"""Latents are cut off here, for squares of larger numbers are infinite in float32."""


class Reducer(Protocol):
    """A fitted `umap.UMAP`, as far as it is used here."""

    def transform(self, latents: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Places (N, 2) of finite latents (N, D)."""
        ...


@dataclass(frozen=True)
class UmapEmbedding:
    """Recorded frames in a plane where neighbors stay near each other, and a way to put other latents among them.

    Source: UMAP, arXiv:1802.03426.

    Args:
        unit: of stored places, so that 16 bits hold them.
        map: the recorded frames in it.
    """

    reducer: Reducer
    unit: float
    map: LatentMap

    @classmethod
    def of(cls, latents: npt.NDArray[np.floating]) -> Self | None:
        """Embed latents (N, D) of recorded frames, the same ones always in the same way; takes many seconds.

        None without umap-learn, or if the frames are too few to have neighbors.
        """
        if len(latents) <= NEIGHBORS:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                from umap import UMAP  # late: it takes seconds
            except Exception:  # a damaged package can fail in any way, and there is another map
                return None
            reducer = UMAP(n_neighbors=NEIGHBORS, random_state=SEED, transform_seed=SEED, n_jobs=1)
            places = reducer.fit_transform(latents)
        unit = unit_of(places)
        return cls(reducer, unit, LatentMap(method="UMAP", shares=None, points=Points.of(places, unit)))

    def places(self, latents: Tensor) -> Points:
        """Places (N, 2) of latents (N, D), among those of the recorded frames most like them."""
        finite = np.nan_to_num(as_array(latents)).clip(-FARTHEST, FARTHEST)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Points.of(self.reducer.transform(finite), self.unit)
