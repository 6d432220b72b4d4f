"""The result of `lewm latent`: what the latent space of a run looks like, beside that of an untrained one."""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt

from lewm_cli.config import Section
from lewm_cli.heads import LatentMap
from lewm_cli.statistics import Estimate
from lewm_cli.store import Measurement

Encoder = Literal["model", "untrained"]
ENCODERS: tuple[Encoder, ...] = ("model", "untrained")
"""The model's own, and one of the same sizes that has learned nothing."""


class Spectrum(Section):
    """Directions that the latents vary in."""

    variances: tuple[float, ...]
    """Of every dimension, the largest first."""
    narrow: int
    """Dimensions with less than a hundredth of the mean variance."""
    eigenvalues: tuple[float, ...]
    """Of the covariance, the largest first."""
    effective_rank: float
    """Exponential of the entropy of the normalized singular values (Roy and Vetterli 2007)."""
    participation_ratio: float
    """Squared sum of the eigenvalues over the sum of their squares."""
    correlation: float | None
    """Mean absolute correlation of two dimensions; None where there are no two, and of principal components."""
    largest_correlation: float | None


class QuantileBand(Section):
    """One quantile of the latents along random directions: the middle 90 % of directions."""

    gaussian: float
    low: float
    median: float
    high: float


class Gaussianity(Section):
    """The Epps-Pulley statistic, the larger the less Gaussian; see `GaussianReference` for what is to be expected."""

    statistic: float | None
    """Against N(0, 1), as SIGReg minimizes it; None of principal components, which nothing pulls to it."""
    shape: float
    """Against the Gaussian of the same mean and variance in every direction."""
    directions: tuple[float, ...]
    """The second, of every random direction, the smallest first."""
    quantiles: tuple[QuantileBand, ...]
    """Of latents with mean 0 and variance 1 in every direction."""


class GaussianReference(Section):
    """Statistics of Gaussian samples: the expectation, and where 95 % of samples lie."""

    samples: PositiveInt
    """Frames in a sample, one of each episode."""
    statistic: float
    statistic_low: float
    statistic_high: float
    shape: float
    shape_low: float
    shape_high: float


class Coverage(Section):
    """Places that one half of the episodes shares with the other (Naeem et al. 2020)."""

    coverage: float
    """Share of frames whose ball, out to the fifth nearest frame of their own half, holds one of the other half."""
    density: float
    """Mean number of such balls that a frame of the other half lies in, by five; may exceed 1."""


class DistanceBin(Section):
    """Pairs of frames about as far apart."""

    low: NonNegativeFloat
    high: NonNegativeFloat
    """Bounds of true distance, or of model steps between the frames."""
    pairs: PositiveInt
    correlation: float | None
    """Spearman's, of latent and true distance, among these; None where one of them never differs."""
    latent_low: float
    latent_median: float
    latent_high: float
    """Quartiles of the latent distance."""


class Distances(Section):
    """Latent distance against true distance."""

    correlation: Estimate
    """Spearman's, over pairs of frames of different episodes."""
    by_distance: tuple[DistanceBin, ...]
    """The same pairs by how far apart they truly are, bins with equally many."""
    by_time: tuple[DistanceBin, ...]
    """Pairs of the same episode by model steps between them."""
    nearest: Estimate
    """Mean true distance between a frame and that of another episode whose latent is nearest."""


class LatentScores(Section):
    """Everything measured on the latents of one encoder; None for what the recording does not allow."""

    spectrum: Spectrum
    gaussianity: Gaussianity | None
    coverage: Coverage | None
    straightness: Estimate | None
    """Mean cosine of successive latent steps: 1 on a line, 0 of a random walk."""
    distances: Distances | None


class TrueDistance(Section):
    """The distance that latent distances are compared with: that of the task's positions."""

    quantities: tuple[str, ...]
    unit: str
    nearest: float
    """Mean distance between a frame and the truly nearest frame of another episode: the best that can be found."""
    random: float
    """The same of a random frame of another episode."""
    coverage: Coverage | None
    """Of the positions in the place of latents."""


class Neighbor(Section):
    """A frame in a strip."""

    row: int
    episode: int
    latent_distance: float
    """From the first one."""
    true_distance: float | None
    picture: str
    """A WebP file, base64."""


class NeighborStrip(Section):
    """A frame and the nearest of other episodes, one of each."""

    frames: tuple[Neighbor, ...]
    """The frame itself first."""


class MapQuantity(Section):
    """A quantity that maps are colored by."""

    name: str
    unit: str
    values: tuple[float, ...]
    """One for every point of the maps."""


class LatentResult(Measurement):
    """The latent space of a run on recorded episodes."""

    frames: PositiveInt
    """Encoded, a model step apart within an episode."""
    episodes: tuple[int, ...]
    frameskip: PositiveInt
    latent: PositiveInt
    components: PositiveInt | None
    """So many principal components stand for latents of more dimensions; None where they are measured whole."""
    seed: int
    scores: dict[Encoder, LatentScores]
    gaussian: GaussianReference | None
    true_distance: TrueDistance | None
    neighbors: tuple[NeighborStrip, ...]
    maps: tuple[LatentMap, ...]
    quantities: tuple[MapQuantity, ...]
    left_out: dict[str, str]
    """What could not be measured, and why."""
