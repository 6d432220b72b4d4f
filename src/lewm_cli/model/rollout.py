"""Imagining as many sequences as are asked for, in parts that the device can take."""

import math

import torch
from torch import Tensor

from lewm_cli.model.captured import Captured
from lewm_cli.model.folded import Folded

AT_ONCE = {"cpu": 512, "cuda": 16384, "mps": 4096}
"""Sequences imagined together, by device: bounds the memory; on a CPU, what one product leaves is in the cache."""


class Rollout:
    """Imagines part by part, as one recorded graph each where the device records.

    Args:
        folded: imagines the sequences of a part.
    """

    def __init__(self, folded: Folded) -> None:
        self._imagine = Captured(folded)

    def __call__(self, emb: Tensor, blocks: Tensor) -> Tensor:
        """Context latents (N, H, D) and action blocks (N, T, block_dim) to latents (N, T + 1, D); see `Folded`."""
        parts = math.ceil(len(emb) / AT_ONCE[emb.device.type]) or 1
        pairs = zip(emb.tensor_split(parts), blocks.tensor_split(parts), strict=True)
        return torch.cat([self._imagine(*pair) for pair in pairs])
