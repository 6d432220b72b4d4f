"""A decoder that is solved for at once draws the frames of latents that it has not seen."""

import numpy as np
import pytest
import torch

from lewm_cli.heads import KernelDecoder

SIDE = 16


def seen(places: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
    """Latents of places (N, 2) from 0 to 1, turned and shifted, and frames with a bright spot there."""
    generator = np.random.default_rng(0)
    latents = places @ generator.normal(size=(2, 6)) + generator.normal(size=6)
    grid = (np.arange(SIDE) + 0.5) / SIDE
    squares = (grid[:, None, None] - places[:, 1]) ** 2 + (grid[:, None] - places[:, 0]) ** 2
    spots = 40 + 200 * np.exp(-squares / 0.1)
    return torch.from_numpy(latents).float(), np.repeat(spots.transpose(2, 0, 1)[..., None], 3, -1).astype(np.uint8)


def errors(drawn: np.ndarray, frames: np.ndarray) -> float:
    return float(np.square(drawn.astype(float) - frames).mean())


@pytest.mark.parametrize("spread", [1, 1e-3])  # latents that are about to collapse, or have not opened yet
def test_frames_of_new_latents_are_drawn_and_of_far_ones_the_mean(spread: float):
    generator = np.random.default_rng(1)
    latents, frames = seen(generator.uniform(size=(400, 2)))
    others, truth = seen(generator.uniform(size=(50, 2)))
    latents, others = 1 + spread * latents, 1 + spread * others
    decoder = KernelDecoder.fit(latents, frames)
    mean = np.broadcast_to(frames.mean(axis=0).round(), truth.shape)
    assert errors(decoder.draw(others), truth) < 0.05 * errors(mean, truth)
    drawn = decoder.draw((others + 1e3 * spread).view(5, 10, -1))
    assert drawn.shape == (5, 10, SIDE, SIDE, 3)
    assert np.abs(drawn.reshape(truth.shape) - mean).max() <= 1


def test_collapsed_latents_are_drawn_as_the_mean():
    _, frames = seen(np.random.default_rng(2).uniform(size=(30, 2)))
    decoder = KernelDecoder.fit(torch.ones(30, 6), frames)
    assert np.abs(decoder.draw(torch.ones(1, 6)) - frames.mean(axis=0)).max() <= 1
