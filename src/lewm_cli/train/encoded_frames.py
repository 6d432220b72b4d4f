"""All frames of a recording as the patch tokens of a frozen encoder, which sees each of them once in a training."""

from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from lewm_cli.config import PixelStats
from lewm_cli.data import COMFORTABLE, Frames, Placement
from lewm_cli.model import FrozenEncoder, has_bf16, normalize_pixels
from lewm_cli.workers import available_memory

ENCODED_TOGETHER = 200
"""Frames, two whole chunks of released recordings."""


class EncodedFrames:
    """The tokens of frames, on the device that trains.

    Args:
        count: rows of the recording; no token is known before `fill` has made it.
        precision: that of the training, so that tokens are those that it would make at each step.

    Attributes:
        tokens: (N, P, width)
        firsts: (N,) int64 for each row the first one whose frame is the same to the last pixel.
    """

    def __init__(
        self,
        frames: Frames,
        count: int,
        encoder: FrozenEncoder,
        stats: PixelStats,
        device: torch.device,
        precision: str,
    ) -> None:
        self._frames, self._encoder, self._stats, self._device = frames, encoder.to(device), stats, device
        self._autocast = precision == "bf16" and has_bf16(device)
        self.tokens = torch.empty((count, encoder.patches, encoder.width), device=device)
        self.firsts = torch.empty(count, dtype=torch.int64, device=device)
        self._first_of = dict[bytes, int]()

    def fill_all(self, advance: Callable[[int], None]) -> None:
        """Encode all frames; `advance` is called with the number of rows done since the last call.

        Raises:
            LewmError: the recording is damaged.
        """
        for start in range(0, len(self.firsts), ENCODED_TOGETHER):
            rows = np.arange(start, min(start + ENCODED_TOGETHER, len(self.firsts)))
            self.fill(rows)
            advance(len(rows))

    def fill(self, rows: np.ndarray) -> None:
        """Encode the frames of these rows (K,), always in the same way."""
        frames = self._frames.rows(rows)
        firsts = [
            self._first_of.setdefault(blake2b(frame.data).digest(), row)
            for row, frame in zip(rows.tolist(), frames, strict=True)
        ]
        self.firsts[rows] = torch.tensor(firsts, device=self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            pixels = normalize_pixels(torch.from_numpy(frames).to(self._device), self._stats)
            self.tokens[rows] = self._encoder(pixels).float()

    def at(self, rows: Tensor) -> Tensor:
        """Rows (...), on the device, to tokens (..., P, width)."""
        taken = self.tokens.index_select(0, rows.flatten())
        return taken.view(*rows.shape, *taken.shape[1:])

    def same(self, rows: Tensor, others: Tensor) -> Tensor:
        """True where rows (...) have the same frames as others (...), all on the device."""
        return self.firsts[rows] == self.firsts[others]


def encoded_bytes(count: int, encoder: FrozenEncoder) -> int:
    """Bytes of the tokens of so many frames."""
    return count * encoder.patches * encoder.width * torch.finfo(torch.float32).bits // 8


def belong_encoded(count: int, encoder: FrozenEncoder, device: torch.device, placement: Placement) -> bool:
    """True if the tokens of so many frames are to be kept: if they take at most half of what is free on the device."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
    return placement is not False and encoded_bytes(count, encoder) <= COMFORTABLE * free
