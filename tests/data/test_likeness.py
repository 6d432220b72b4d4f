"""PSNR and SSIM are what their definitions say."""

import numpy as np
import pytest
from scipy.ndimage import correlate1d

from lewm_cli.data import Likeness, estimate_psnr, squared_errors, ssim


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Five pictures, and the same with noise."""
    generator = np.random.default_rng(0)
    one = np.broadcast_to(np.arange(24, dtype=np.uint8)[:, None, None] * 8, (5, 24, 20, 3)).copy()
    return one, np.clip(one + generator.normal(0, 12, one.shape), 0, 255).astype(np.uint8)


def test_psnr_is_that_of_the_mean_error_and_its_interval_is_turned(pair: tuple[np.ndarray, np.ndarray]):
    errors = squared_errors(*pair).mean(axis=(1, 2))
    assert errors == pytest.approx(np.square(pair[0].astype(float) - pair[1]).mean(axis=(1, 2, 3)), rel=1e-5)
    found = estimate_psnr(np.array([1.0, 9.0]), np.array([0, 1]))
    assert found.value == pytest.approx(10 * np.log10(255**2 / 5))
    assert (found.low, found.high) == pytest.approx((10 * np.log10(255**2 / 9), 10 * np.log10(255**2)))


def test_ssim_is_the_published_formula_on_whole_windows(pair: tuple[np.ndarray, np.ndarray]):
    weights = np.exp(-np.square(np.arange(-5, 6)) / (2 * 1.5**2))
    weights /= weights.sum()

    def window(values: np.ndarray) -> np.ndarray:
        for axis in (1, 2):
            values = correlate1d(values, weights, axis=axis)
        return values[:, 5:-5, 5:-5]

    x, y = (one.astype(float) for one in pair)
    mx, my = window(x), window(y)
    vx, vy, cov = window(x * x) - mx**2, window(y * y) - my**2, window(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim(*pair) == pytest.approx(expected.mean(axis=(1, 2, 3)), abs=1e-9)
    assert 0.1 < ssim(*pair).mean() < 0.99


@pytest.mark.parametrize("side", [1, 2, 10, 16])
def test_equal_frames_are_wholly_alike_however_small(side: int):
    frames = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    score = Likeness.of(frames, frames, np.array([0, 1]))
    assert (score.psnr.value, score.psnr.low, score.psnr.high) == (100.0, 100.0, 100.0)
    assert score.ssim.value == pytest.approx(1)


def test_black_beside_white_is_not_alike():
    black = np.zeros((1, 16, 16, 3), np.uint8)
    score = Likeness.of(black, black + 255, np.array([0]))
    assert score.psnr.value == pytest.approx(0)
    assert score.ssim.value == pytest.approx(0.01**2 / (1 + 0.01**2), rel=1e-3)
