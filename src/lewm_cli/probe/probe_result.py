"""The result of `lewm probe`."""

from typing import Literal, Self

import numpy as np
from pydantic import PositiveInt

from lewm_cli.config import Section
from lewm_cli.probe.imagination_result import Imagination, OpenLoop
from lewm_cli.statistics import Estimate, estimate_r2
from lewm_cli.store import Measurement

Feature = Literal["model", "history", "encoder", "untrained", "pixels", "shuffled"]
FEATURES: tuple[Feature, ...] = ("model", "history", "encoder", "untrained", "pixels", "shuffled")
"""The model's latents; those of its last model steps together; the encoder's CLS token, before the projector; an
untrained model's latents; the first principal components of raw pixels, as many as are probed of the latent; the
model's latents with the targets shuffled."""

SIZED: tuple[Feature, ...] = ("model", "untrained")
"""Features that probes are fitted to with fewer frames."""

REFERENCES: tuple[Feature, ...] = ("untrained", "pixels", "shuffled")
"""Features that should know less than the model."""


class ProbeScore(Section):
    """Scores of one probe of one quantity on test episodes, over all its coordinates together.

    `mse` is in units of the quantity's variance on the training episodes, `r` Pearson's correlation, `r2` the share of
    variance explained, with a 95 % bootstrap interval over test episodes, and `rmse` the root mean squared error in the
    quantity's unit.
    """

    mse: float
    r: float
    r2: float
    r2_low: float
    r2_high: float
    rmse: float | None = None
    """None in results that were stored before it was measured."""
    by_seed: tuple[float, ...] = ()
    """R2 under each of the result's seeds, its own first; empty if it has one."""

    @classmethod
    def of(cls, predicted: np.ndarray, actual: np.ndarray, errors: np.ndarray, episodes: np.ndarray, seed: int) -> Self:
        """Compares predictions (M, C) with the truth (M, C), both standardized, of frames of these episodes (M,).

        Args:
            errors: (M,) how far they are apart in the quantity's unit.
        """
        ours, true = (one - one.mean(axis=0) for one in (predicted, actual))
        spread = np.sqrt((ours**2).sum() * (true**2).sum())
        r2 = estimate_r2(predicted, actual, episodes, seed)
        return cls(
            mse=float(((predicted - actual) ** 2).mean()),
            r=float((ours * true).sum() / spread) if spread > 0 else 0.0,
            r2=r2.value,
            r2_low=r2.low,
            r2_high=r2.high,
            rmse=float(np.sqrt((errors**2).mean())),
        )

    @property
    def overall(self) -> Estimate:
        """R2 with its interval; of several seeds the mean, with the lowest and the highest."""
        if not self.by_seed:
            return Estimate(value=self.r2, low=self.r2_low, high=self.r2_high)
        mean = sum(self.by_seed) / len(self.by_seed)
        return Estimate(value=mean, low=min(self.by_seed), high=max(self.by_seed))

    def __str__(self) -> str:
        """The same, rounded; a range over seeds in round brackets."""
        one = self.overall
        ends = f"({one.low:.3f} to {one.high:.3f})" if self.by_seed else f"[{one.low:.3f}, {one.high:.3f}]"
        return f"{one.value:.3f} {ends}"


class SampleSize(Section):
    """R2 on the same test frames of probes fitted to so many of the training frames, which those of more contain."""

    frames: PositiveInt
    linear: dict[Feature, Estimate]
    mlp: dict[Feature, Estimate]


class TargetResult(Section):
    """One quantity, read by a linear probe and by an MLP from each kind of features."""

    name: str
    unit: str
    rate: bool = False
    """True for how fast something changes, which one frame does not show."""
    linear: dict[Feature, ProbeScore]
    mlp: dict[Feature, ProbeScore]
    sizes: tuple[SampleSize, ...] = ()
    """The fewest frames first; empty if they were not asked for."""

    @property
    def beats_references(self) -> bool:
        """True if the MLP reads it better than from any reference, and than the mean is, with intervals apart."""
        return self.mlp["model"].r2_low > max(0.0, *(self.mlp[feature].r2_high for feature in REFERENCES))


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
    """Probes of every quantity of a task, on recorded frames and on imagined ones."""

    train_frames: PositiveInt
    test_frames: PositiveInt
    train_episodes: tuple[int, ...]
    test_episodes: tuple[int, ...]
    latent: PositiveInt
    proprio: bool = False
    """True if the run is given proprioception beside frames."""
    recipe: str
    seed: int
    seeds: tuple[int, ...] = ()
    """Those of splits and MLPs, that of the result first; empty if there is one."""
    targets: tuple[TargetResult, ...]
    left_out: dict[str, str]
    """Quantities that could not be probed, and why."""
    map_explained: tuple[float, float]
    """Share of the latents' variance along each axis of the map."""
    points: tuple[ProbePoint, ...]
    """A sample of the test frames."""
    imagination: Imagination | None = None
    """The quantities read from imagined latents; None if none were imagined."""
    open_loop: OpenLoop | None = None
    """Errors of imagined latents themselves."""

    @property
    def still(self) -> tuple[TargetResult, ...]:
        """The quantities that one frame shows; all of them where it shows none."""
        return tuple(target for target in self.targets if not target.rate) or self.targets
