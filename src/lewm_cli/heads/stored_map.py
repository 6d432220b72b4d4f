"""Latents in a plane, as results store them."""

import base64
import math
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import NonNegativeInt, PositiveFloat, model_validator

from lewm_cli.config import Section


class Points(Section):
    """Points of a plane, stored as whole numbers of a small unit, so that many of them take little room."""

    shape: tuple[NonNegativeInt, ...]
    """(..., 2)."""
    unit: PositiveFloat
    """The length that the number 1 stands for."""
    data: str
    """Little-endian int16, row by row, base64."""

    @classmethod
    def of(cls, points: npt.ArrayLike, unit: float) -> Self:
        """Store points (..., 2), each number rounded to the unit and clipped to what 16 bits hold."""
        whole = (np.asarray(points, float) / unit).round().clip(-(2**15), 2**15 - 1).astype("<i2")
        return cls(shape=whole.shape, unit=unit, data=base64.b64encode(whole.tobytes()).decode())

    @model_validator(mode="after")
    def _data_fills_the_shape(self) -> Self:
        if self.shape[-1:] != (2,) or len(base64.b64decode(self.data)) != 2 * math.prod(self.shape):
            raise ValueError(f"data does not hold the points of shape {self.shape}")
        return self

    def array(self) -> npt.NDArray[np.float64]:
        """The points (..., 2)."""
        return np.frombuffer(base64.b64decode(self.data), "<i2").reshape(self.shape) * self.unit


class LatentMap(Section):
    """Latents of recorded frames in a plane."""

    method: Literal["PCA", "UMAP"]
    """PCA: x along the first principal component, y along the second. UMAP: neighbors stay near each other."""
    shares: tuple[float, float] | None
    """Parts of the latents' variance that the two components hold; None of UMAP, which has none."""
    points: Points
    """(N, 2) frames of the recording."""
