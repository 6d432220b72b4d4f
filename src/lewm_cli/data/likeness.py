"""Likeness of frames: PSNR and SSIM, with intervals over episodes."""

from typing import Self

import cv2
import numpy as np

from lewm_cli.config import Section
from lewm_cli.statistics import Estimate

LEVELS = 255.0
LEAST_ERROR = LEVELS**2 / 10**10
"""Mean squared error that counts as none, so that equal frames have 100 dB and not infinitely many."""

DEVIATION, RADIUS = 1.5, 5
"""Of the window of SSIM, pixels; it is 11 pixels wide, and narrower in frames that are smaller."""


class Likeness(Section):
    """Scores of frames beside the true ones."""

    psnr: Estimate
    """Of the mean squared error over all frames, dB; 100 where there is none."""
    ssim: Estimate
    """Mean over frames."""

    @classmethod
    def of(cls, frames: np.ndarray, truth: np.ndarray, episodes: np.ndarray) -> Self:
        """Scores frames (N, H, W, 3) uint8, given the true ones and the number (N,) of the episode of each."""
        errors = squared_errors(frames, truth).mean(axis=(1, 2))
        return cls(psnr=estimate_psnr(errors, episodes), ssim=Estimate.of_mean(ssim(frames, truth), episodes))


def squared_errors(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Squared error of every pixel, the mean over its channels: frames (N, H, W, 3) uint8 to (N, H, W), levels."""
    return np.stack(
        [np.square(one.astype(np.float32) - other).mean(axis=-1) for one, other in zip(frames, truth, strict=True)]
    )


def estimate_psnr(errors: np.ndarray, episodes: np.ndarray) -> Estimate:
    """Estimates the PSNR, dB, of mean squared errors (N,), given the episode number (N,) of each.

    It is that of their mean, and not the mean of theirs, which one frame without an error would make infinite.
    """
    mean = Estimate.of_mean(errors, episodes)
    value, low, high = (
        float(10 * np.log10(LEVELS**2 / max(error, LEAST_ERROR))) for error in (mean.value, mean.high, mean.low)
    )
    return Estimate(value=value, low=low, high=high)


def ssim(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Structural similarity (N,) of frames (N, H, W, 3) uint8, the mean over channels and over whole windows.

    Gaussian windows and constants are those of Wang et al., "Image Quality Assessment", 2004.
    """
    return np.array([_ssim(one.astype(float), other.astype(float)) for one, other in zip(frames, truth, strict=True)])


def _ssim(one: np.ndarray, other: np.ndarray) -> float:
    radius = min(RADIUS, (min(one.shape[:2]) - 1) // 2)

    def window(values: np.ndarray) -> np.ndarray:
        side = 2 * radius + 1
        blurred = cv2.GaussianBlur(values, (side, side), DEVIATION)
        return blurred[radius : len(values) - radius, radius : values.shape[1] - radius]

    mean, mean_other = window(one), window(other)
    variance, variance_other = window(one**2) - mean**2, window(other**2) - mean_other**2
    covariance = window(one * other) - mean * mean_other
    small, smaller = (0.03 * LEVELS) ** 2, (0.01 * LEVELS) ** 2
    alike = (2 * mean * mean_other + smaller) * (2 * covariance + small)
    return float((alike / ((mean**2 + mean_other**2 + smaller) * (variance + variance_other + small))).mean())
