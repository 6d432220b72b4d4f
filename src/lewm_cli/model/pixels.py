"""Normalization of frames for the encoder."""

import torch
from torch import Tensor

from lewm_cli.config import PixelStats


def normalize_pixels(frames: Tensor, stats: PixelStats) -> Tensor:
    """Scale to [0, 1], standardize per channel and move channels first.

    Args:
        frames: (..., H, W, 3) uint8
        stats: mean and standard deviation per channel.

    Returns:
        (..., 3, H, W) float32
    """
    mean, std = (torch.tensor(values, device=frames.device) for values in (stats.mean, stats.std))
    return ((frames.float() / 255 - mean) / std).movedim(-1, -3).contiguous()
