"""The normalization of frames and actions: statistics that travel with the weights."""

from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, FiniteFloat, PositiveFloat, PositiveInt, model_validator

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


class ActionStats(Section):
    """Mean and standard deviation per action dimension, in the environment's units."""

    mean: tuple[FiniteFloat, ...]
    std: tuple[PositiveFloat, ...]

    @model_validator(mode="after")
    def _one_std_per_mean(self) -> Self:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError("action mean and std must have the same number of values, at least one")
        return self

    @classmethod
    def fit(cls, actions: Array) -> Self:
        """z-score statistics over all rows (N, A) without NaN; a constant dimension gets standard deviation 1.

        One that varies by rounding only counts as constant: else other values would be millions of its units away.

        Raises:
            LewmError: a value is infinite, or every row has a NaN.
        """
        if np.isinf(actions).any():
            raise LewmError("the recording holds infinite actions; write NaN where no action was taken")
        rows = actions[~np.isnan(actions).any(axis=1)].astype(np.float64)
        if len(rows) == 0:
            raise LewmError("the recording holds no finite action, and a world model needs actions; record them too")
        std = np.where(constant_dimensions(rows), 1.0, rows.std(axis=0))
        return cls(mean=tuple(rows.mean(axis=0).tolist()), std=tuple(std.tolist()))

    @property
    def dim(self) -> int:
        """Number of action dimensions A."""
        return len(self.mean)

    def normalize(self, actions: Array) -> Array:
        """Environment units (..., A) to z-scores, float32; NaN (no action) becomes 0, the mean action."""
        scaled: Array = (actions - np.asarray(self.mean)) / np.asarray(self.std)
        return np.nan_to_num(scaled, nan=0.0).astype(np.float32)

    def denormalize(self, actions: Array) -> Array:
        """z-scores (..., A) to environment units, float32."""
        scaled: Array = actions * np.asarray(self.std) + np.asarray(self.mean)
        return scaled.astype(np.float32)


def constant_dimensions(rows: Array) -> npt.NDArray[np.bool_]:
    """(A,) true for dimensions of known actions (R, A), float64, that never change but for rounding."""
    std, size = rows.std(axis=0), np.abs(rows).max(axis=0)
    reach = np.quantile(np.abs(rows - np.median(rows, axis=0)), 0.9, axis=0)  # whatever single rows are
    constant: npt.NDArray[np.bool_] = rows.max(axis=0) == rows.min(axis=0)
    constant |= (std <= ROUNDING * size) | (std <= FAINT * reach.max())
    return constant


class Inputs(Section):
    """The preparation of recorded frames and actions for the model."""

    task: str = Field(description="task name, or 'generic' for a recording without a simulator")
    frameskip: PositiveInt = Field(description="environment steps per model step")
    actions: ActionStats
    pixels: PixelStats = PixelStats()
    resize: Literal["area"] = Field("area", description="filter from the recorded size to the model's")

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
