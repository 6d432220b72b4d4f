"""A linear and an MLP probe, fitted together to the same features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from lewm_cli.heads import BATCH, train_mlp
from lewm_cli.model import HIDDEN
from lewm_cli.tasks import ProbeTarget

Kind = Literal["linear", "mlp"]
KINDS: tuple[Kind, ...] = ("linear", "mlp")

STEPS = 1500
RECIPE = (
    "features z-scored on the training episodes, and targets, coordinates of one quantity by one deviation; "
    f"linear: ordinary least squares with intercept; MLP: two hidden layers of {HIDDEN} with GELU, AdamW 2e-3 with "
    f"cosine, weight decay 1e-4, {STEPS} steps of {BATCH}"
)
"""In words: the recipe of the published probes is not known."""

ROUNDING = 1e-5
"""Share of the widest dimension's standard deviation below which that of another is rounding."""

FLOAT32 = 1e-6
"""Share of the largest singular value below which another is rounding."""


@dataclass(frozen=True)
class Scale:
    """Standardizes (N, D): less an offset (D,), over a unit (D,)."""

    offset: Tensor
    unit: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Self:
        """Takes mean and standard deviation of values (N, D).

        Of a dimension that is constant but for rounding (a patch that never changes, a principal component more than
        there are directions) hardly anything is left: divided by such a deviation, it would be all that a probe sees.
        """
        std = values.std(dim=0, unbiased=False)
        widest = std.max() if std.any() else torch.ones_like(std.max())
        return cls(values.mean(dim=0), torch.where(std > ROUNDING * widest, std, widest))

    @classmethod
    def of_quantities(cls, columns: list[Tensor]) -> Self:
        """Scales quantities with coordinates (N, C) each, all of one by one unit: what hardly varies counts little."""
        spread = torch.stack([column.var(dim=0, unbiased=False).mean().sqrt() for column in columns])
        unit = torch.where(spread > 0, spread, 1.0).repeat_interleave(torch.tensor([one.shape[1] for one in columns]))
        return cls(torch.cat([column.mean(dim=0) for column in columns]), unit)

    def apply(self, values: Tensor) -> Tensor:
        """Values (N, D) in these units."""
        return (values - self.offset) / self.unit

    def undo(self, values: Tensor) -> Tensor:
        """Values (N, D) as `apply` took them."""
        return values * self.unit + self.offset


@dataclass(frozen=True)
class Probes:
    """A linear and an MLP probe of all quantities, from features (N, D) to standardized coordinates (N, C), float64."""

    inputs: Scale
    weights: Tensor
    """(D + 1, C), the intercept last."""
    network: Callable[[Tensor], Tensor]

    @classmethod
    def fit(cls, features: Tensor, targets: Tensor, seed: int) -> Self:
        """Fits both to features (N, D) and standardized coordinates (N, C); the seed is that of the MLP."""
        scale = Scale.of(features)
        inputs = scale.apply(features)
        return cls(scale, least_squares(inputs, targets), train_mlp(inputs, targets, seed, STEPS))

    @torch.inference_mode()
    def read(self, features: Tensor, kind: Kind) -> Tensor:
        """Coordinates (N, C) that one of them reads from features (N, D)."""
        inputs = self.inputs.apply(features.double())
        return _with_intercept(inputs) @ self.weights if kind == "linear" else self.network(inputs.float()).double()


@dataclass(frozen=True)
class Quantities:
    """The quantities that are probed, their coordinates side by side."""

    targets: tuple[ProbeTarget, ...]
    scale: Scale
    columns: tuple[slice, ...]
    """Of each quantity among all coordinates."""

    @classmethod
    def of(cls, targets: tuple[ProbeTarget, ...], coordinates: tuple[np.ndarray, ...], train: np.ndarray) -> Self:
        """Takes coordinates (N, C) of each, the training rows of which `train` (N,) marks."""
        ends = np.cumsum([one.shape[1] for one in coordinates]).tolist()
        columns = tuple(slice(end - one.shape[1], end) for end, one in zip(ends, coordinates, strict=True))
        scale = Scale.of_quantities([torch.from_numpy(one[train]) for one in coordinates])
        return cls(targets, scale, columns)

    def standardized(self, coordinates: Sequence[np.ndarray]) -> Tensor:
        """Standardized coordinates (N, C) of all quantities, of those (N, C) of each."""
        return self.scale.apply(torch.from_numpy(np.concatenate(coordinates, axis=1)))

    def values(self, standardized: Tensor) -> np.ndarray:
        """Values (N, K) in the units of the quantities, of coordinates (N, C)."""
        found = self.scale.undo(standardized).numpy()
        return np.stack(
            [one.values(found[:, own]) for one, own in zip(self.targets, self.columns, strict=True)], axis=1
        )

    def errors(self, k: int, predicted: Tensor, actual: Tensor) -> np.ndarray:
        """Errors (N,) of the k-th quantity, in its unit, of standardized coordinates (N, C) of all."""
        ours, true = (self.scale.undo(each).numpy()[:, self.columns[k]] for each in (predicted, actual))
        return self.targets[k].errors(ours, true)


def least_squares(inputs: Tensor, targets: Tensor) -> Tensor:
    """Weights (D + 1, C) of the least squares from standardized inputs (N, D) to targets (N, C), the intercept last.

    Directions in which inputs, computed in float32, vary by no more than rounding are left out.
    """
    return torch.linalg.lstsq(_with_intercept(inputs), targets, rcond=FLOAT32, driver="gelsd").solution


def _with_intercept(inputs: Tensor) -> Tensor:
    return torch.cat([inputs, torch.ones(len(inputs), 1, dtype=inputs.dtype)], dim=1)
