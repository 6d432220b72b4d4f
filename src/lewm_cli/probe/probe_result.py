"""The result of `lewm probe`."""

from typing import Literal, Self

import numpy as np
from pydantic import PositiveInt

from lewm_cli.config import Section
from lewm_cli.statistics import estimate_r2
from lewm_cli.store import Measurement

Feature = Literal["model", "untrained", "pixels", "shuffled"]
FEATURES: tuple[Feature, ...] = ("model", "untrained", "pixels", "shuffled")
"""The model's latents; an untrained model's; the first principal components of raw pixels, as many as are probed of
the latent; the model's latents with the targets shuffled."""


class ProbeScore(Section):
    """Scores of one probe of one quantity on test episodes.

    `mse` is on z-scored targets, `r` Pearson's correlation, `r2` the share of variance explained, with a 95 %
    bootstrap interval over test episodes.
    """

    mse: float
    r: float
    r2: float
    r2_low: float
    r2_high: float

    @classmethod
    def of(cls, predicted: np.ndarray, actual: np.ndarray, episodes: np.ndarray, seed: int) -> Self:
        """Compares predictions (M,) with the truth (M,), both z-scored, of frames of these episodes (M,)."""
        r = np.corrcoef(predicted, actual)[0, 1] if predicted.std() > 0 else 0.0
        r2 = estimate_r2(predicted, actual, episodes, seed)
        mse = float(((predicted - actual) ** 2).mean())
        return cls(mse=mse, r=float(r), r2=r2.value, r2_low=r2.low, r2_high=r2.high)

    def __str__(self) -> str:
        return f"{self.r2:.3f} [{self.r2_low:.3f}, {self.r2_high:.3f}]"


class TargetResult(Section):
    """One quantity, read by a linear probe and by an MLP from each kind of features."""

    name: str
    unit: str
    linear: dict[Feature, ProbeScore]
    mlp: dict[Feature, ProbeScore]

    @property
    def beats_references(self) -> bool:
        """True if the MLP reads it better from the model than from any reference, with intervals apart."""
        references = (self.mlp[feature].r2_high for feature in FEATURES if feature != "model")
        return self.mlp["model"].r2_low > max(references)


class ProbePoint(Section):
    """One test frame of the model's probes, for pictures.

    `actual`, `linear` and `mlp` hold one value per target, in the target's unit; `map` the first two principal
    components of the model's latent.
    """

    row: int
    episode: int
    actual: tuple[float, ...]
    linear: tuple[float, ...]
    mlp: tuple[float, ...]
    map: tuple[float, float]


class ProbeResult(Measurement):
    """Probes of every quantity of a task."""

    train_frames: PositiveInt
    test_frames: PositiveInt
    train_episodes: tuple[int, ...]
    test_episodes: tuple[int, ...]
    latent: PositiveInt
    proprio: bool = False
    """True if the run is given proprioception beside frames."""
    recipe: str
    seed: int
    targets: tuple[TargetResult, ...]
    left_out: dict[str, str]
    """Quantities that could not be probed, and why."""
    map_explained: tuple[float, float]
    """Share of the latents' variance along each axis of the map."""
    points: tuple[ProbePoint, ...]
    """A sample of the test frames."""
