"""The normalization of frames, actions and proprioception: statistics that travel with the weights."""

from typing import ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, FiniteFloat, PositiveFloat, PositiveInt, model_validator

from lewm_cli.config.camera_framing import Framing
from lewm_cli.config.section import Section
from lewm_cli.errors import LewmError

Array = npt.NDArray[np.floating]


ROUNDING = 1e-5
"""Share of a dimension's magnitude below which its standard deviation is that of rounding."""

FAINT = 1e-8
"""The same share of what the liveliest dimension reaches, for dimensions that rest at 0."""


class PixelStats(Section):
    """Mean and standard deviation per channel of pixels scaled to [0, 1]; ImageNet's by default."""

    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = (0.485, 0.456, 0.406)
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (0.229, 0.224, 0.225)


class VectorStats(Section):
    """Mean and standard deviation per dimension of recorded vectors, in the environment's units."""

    infinite: ClassVar[str]
    """Says what is wrong with a recording that holds infinite ones, and what to do about it."""
    missing: ClassVar[str]
    """The same of a recording in which none is known."""

    mean: tuple[FiniteFloat, ...]
    std: tuple[PositiveFloat, ...]

    @model_validator(mode="after")
    def _one_std_per_mean(self) -> Self:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError("mean and std must have the same number of values, at least one")
        return self

    @classmethod
    def fit(cls, vectors: Array) -> Self:
        """z-score statistics over all rows (N, K) without NaN; a constant dimension gets standard deviation 1.

        One that varies by rounding only counts as constant: else other values would be millions of its units away.

        Raises:
            LewmError: a value is infinite, or every row has a NaN.
        """
        if np.isinf(vectors).any():
            raise LewmError(cls.infinite)
        rows = vectors[~np.isnan(vectors).any(axis=1)].astype(np.float64)
        if len(rows) == 0:
            raise LewmError(cls.missing)
        std = np.where(constant_dimensions(rows), 1.0, rows.std(axis=0))
        return cls(mean=tuple(rows.mean(axis=0).tolist()), std=tuple(std.tolist()))

    @property
    def dim(self) -> int:
        """Number of dimensions K."""
        return len(self.mean)

    def normalize(self, vectors: Array) -> Array:
        """Environment units (..., K) to z-scores, float32; NaN, where nothing is known, becomes 0, the mean."""
        scaled: Array = (vectors - np.asarray(self.mean)) / np.asarray(self.std)
        return np.nan_to_num(scaled, nan=0.0).astype(np.float32)

    def denormalize(self, scores: Array) -> Array:
        """z-scores (..., K) to environment units, float32."""
        scaled: Array = scores * np.asarray(self.std) + np.asarray(self.mean)
        return scaled.astype(np.float32)


class ActionStats(VectorStats):
    """Mean and standard deviation per action dimension."""

    infinite = "the recording holds infinite actions; write NaN where no action was taken"
    missing = "the recording holds no finite action, and a world model needs actions; record them too"


class ProprioStats(VectorStats):
    """Mean and standard deviation per dimension of proprioception."""

    infinite = "the recording holds infinite proprioception; write NaN where it is not known"
    missing = "the recording holds no finite proprioception; record it, or train with a method that takes none"


class ActionBounds(Section):
    """The least and the greatest action of every dimension, in the environment's units."""

    low: tuple[FiniteFloat, ...]
    high: tuple[FiniteFloat, ...]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if len(self.low) != len(self.high) or any(a > b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError("low and high must have the same number of values, and low is never above high")
        return self

    @classmethod
    def of(cls, actions: Array) -> Self:
        """Bounds of all known actions (N, A), at least one of them known; rows with a NaN are left out."""
        known = actions[~np.isnan(actions).any(axis=1)].astype(np.float64)
        return cls(low=tuple(known.min(axis=0).tolist()), high=tuple(known.max(axis=0).tolist()))


def constant_dimensions(rows: Array) -> npt.NDArray[np.bool_]:
    """(K,) true for dimensions of known vectors (R, K), float64, that never change but for rounding."""
    std, size = rows.std(axis=0), np.abs(rows).max(axis=0)
    reach = np.quantile(np.abs(rows - np.median(rows, axis=0)), 0.9, axis=0)  # whatever single rows are
    constant: npt.NDArray[np.bool_] = rows.max(axis=0) == rows.min(axis=0)
    constant |= (std <= ROUNDING * size) | (std <= FAINT * reach.max())
    return constant


class Inputs(Section):
    """The preparation of what is recorded for the model."""

    task: str = Field(description="task name, or 'generic' for a recording without a simulator")
    frameskip: PositiveInt = Field(description="environment steps per model step")
    actions: ActionStats
    proprio: ProprioStats | None = Field(None, description="of proprioception; None for a network that takes none")
    pixels: PixelStats = PixelStats()
    resize: Literal["area"] = Field("area", description="filter from the recorded size to the model's")
    bounds: ActionBounds | None = Field(None, description="of the recorded actions; None where they are not known")
    action_names: tuple[str, ...] = Field((), description="one per action dimension; empty where nobody named them")
    fps: PositiveFloat | None = Field(None, description="rows per second of the recording; None if it does not say")
    framing: Framing | None = Field(None, description="how camera frames became square; None if they always were")

    @property
    def block_dim(self) -> int:
        """Width of an action block: frameskip * action dimensions."""
        return self.frameskip * self.actions.dim

    def actions_of(self, blocks: Array) -> Array:
        """Normalized action blocks (T, frameskip * A) to the actions (T * frameskip, A) in environment units."""
        return self.actions.denormalize(blocks.reshape(-1, self.actions.dim))

    def blocks_of(self, actions: Array) -> Array:
        """Actions (T * frameskip, A) in environment units to normalized action blocks (T, frameskip * A)."""
        return self.actions.normalize(actions).reshape(-1, self.block_dim)


class DatasetIdentity(Section):
    """A recording, independent of where it lies."""

    name: str
    episodes: PositiveInt
    rows: PositiveInt
    fingerprint: str = Field(description="sha256 over episode lengths, offsets, all actions and a sample of frames")
