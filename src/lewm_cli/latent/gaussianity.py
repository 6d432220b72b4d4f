"""Gaussianity of latents: the statistic that SIGReg minimizes, along random directions, and quantiles.

Frames of one episode are no independent samples. So a sample takes one frame of each episode, as a batch of training
takes one of each clip, and the reference is a Gaussian sample of that size.
"""

from collections.abc import Iterator

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from lewm_cli.latent.latent_result import Gaussianity, GaussianReference, QuantileBand
from lewm_cli.latent.tracks import Tracks
from lewm_cli.model import SIGReg, epps_pulley
from lewm_cli.statistics import percentile_interval

DIRECTIONS = 256
SAMPLES = 10
"""Samples drawn of the latents; the statistics are means over them."""

MOST = 500
"""Episodes in a sample, at most."""

FEWEST = 5
"""Episodes in a sample, at least."""

GAUSSIAN_SAMPLES = 200
"""Samples drawn of a Gaussian."""

QUANTILES = tuple(norm.cdf(np.linspace(-3, 3, 41)).tolist())


def measure_gaussianity(latents: Tensor, tracks: Tracks, seed: int, *, whole: bool) -> Gaussianity:
    """Measures latents (N, D) of tracks of at least five episodes; `whole` if they are no principal components."""
    directions = _directions(latents.shape[1], seed)
    samples = [latents[rows].float() @ directions for rows in _one_of_each(tracks, seed)]
    shapes = torch.stack([_shape(sample) for sample in samples]).mean(dim=0)
    projected = _standardized(latents.float() @ directions).double().numpy()
    low, median, high = np.quantile(np.quantile(projected, QUANTILES, axis=0), [0.05, 0.5, 0.95], axis=1)
    return Gaussianity(
        statistic=float(np.mean([_statistic(sample).mean().item() for sample in samples])) if whole else None,
        shape=shapes.mean().item(),
        directions=tuple(np.sort(shapes.double().numpy()).tolist()),
        quantiles=tuple(
            QuantileBand(gaussian=float(norm.ppf(share)), low=a, median=b, high=c)
            for share, a, b, c in zip(QUANTILES, low.tolist(), median.tolist(), high.tolist(), strict=True)
        ),
    )


def gaussian_reference(dimensions: int, episodes: int, seed: int) -> GaussianReference:
    """Measures samples of a standard Gaussian as latents are measured."""
    directions, size = _directions(dimensions, seed), min(episodes, MOST)
    generator = torch.Generator().manual_seed(seed)
    statistics, shapes = [], []
    for _ in range(GAUSSIAN_SAMPLES):
        sample = torch.randn(size, dimensions, generator=generator) @ directions
        statistics.append(_statistic(sample).mean().item())
        shapes.append(_shape(sample).mean().item())
    (low, high), (shape_low, shape_high) = percentile_interval(statistics), percentile_interval(shapes)
    return GaussianReference(
        samples=size,
        statistic=expected_statistic(),
        statistic_low=low,
        statistic_high=high,
        shape=float(np.mean(shapes)),
        shape_low=shape_low,
        shape_high=shape_high,
    )


def expected_statistic(knots: int = SIGReg.knots) -> float:
    """Expectation of the statistic for standard Gaussian samples, whatever their size.

    The squared difference of the characteristic functions is 1 - exp(-t^2) over the size of the sample on average: the
    variance of exp(i t x). Integrated with the same nodes and weights.
    """
    nodes = np.linspace(0, 3, knots)
    return float(2 * np.trapezoid(np.exp(-(nodes**2) / 2) * (1 - np.exp(-(nodes**2))), nodes))


def _directions(dimensions: int, seed: int) -> Tensor:
    drawn = torch.randn(dimensions, DIRECTIONS, generator=torch.Generator().manual_seed(seed))
    return drawn / drawn.norm(dim=0)


def _one_of_each(tracks: Tracks, seed: int) -> Iterator[np.ndarray]:
    """Places of one frame of each episode, at random, of at most `MOST` of them."""
    generator = np.random.default_rng(seed)
    for _ in range(SAMPLES):
        order = generator.permutation(len(tracks.rows))
        _, first = np.unique(tracks.owners[order], return_index=True)
        yield generator.permutation(order[first])[:MOST]


def _statistic(projected: Tensor) -> Tensor:
    return epps_pulley(projected.unsqueeze(0))[0]


def _shape(projected: Tensor) -> Tensor:
    return _statistic(_standardized(projected))


def _standardized(projected: Tensor) -> Tensor:
    """Samples (N, directions) with mean 0 and variance 1 in every direction; of one that never differs, 0."""
    deviation = projected.std(dim=0, unbiased=False)
    return (projected - projected.mean(dim=0)) / deviation.clamp_min(1e-12)
