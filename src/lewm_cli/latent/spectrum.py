"""Variances of the dimensions, their correlations, and the eigenvalues of the covariance."""

import math

import numpy as np

from lewm_cli.latent.latent_result import Spectrum

NARROW = 0.01
"""A dimension is narrow with less than this share of the mean variance."""


def measure_spectrum(latents: np.ndarray, *, whole: bool) -> Spectrum:
    """Measures latents (N, D), float64; correlations only if they are `whole`, and no principal components."""
    variances = latents.var(axis=0)
    covariance = np.atleast_2d(np.cov(latents.T, bias=True))
    eigenvalues = np.linalg.eigvalsh(covariance)[::-1].clip(min=0)
    singular = np.sqrt(eigenvalues)
    shares = singular[singular > 0] / max(singular.sum(), 1e-30)
    varying = variances > 0
    apart = np.array([])
    if whole:
        deviations = np.sqrt(variances[varying])
        correlations = covariance[np.ix_(varying, varying)] / np.outer(deviations, deviations)
        apart = np.abs(correlations[np.triu_indices(len(correlations), 1)])
    return Spectrum(
        variances=tuple(np.sort(variances)[::-1].tolist()),
        narrow=int((variances < NARROW * variances.mean()).sum()),
        eigenvalues=tuple(eigenvalues.tolist()),
        effective_rank=math.exp(-(shares * np.log(shares)).sum()),
        participation_ratio=float(eigenvalues.sum() ** 2 / max(np.square(eigenvalues).sum(), 1e-30)),
        correlation=float(apart.mean()) if len(apart) else None,
        largest_correlation=float(apart.max()) if len(apart) else None,
    )
