"""Frames unlike the recorded ones: how far pixels lie outside of the range that was recorded at their place."""

import base64
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import NonNegativeFloat, PositiveInt, field_validator

from lewm_cli.config import Section
from lewm_cli.data.frames import resize
from lewm_cli.statistics import Rate

SIDE = 32
"""Coarse pixels along a side at most: their ranges are made of many frames, and noise is averaged."""

Coarse = npt.NDArray[np.uint8]
"""Frames as their coarse pixels, all channels in a row: (N, P)."""


class FrameAlarm(Section):
    """The range of every coarse pixel of recorded frames, and the score above which a frame is unlike them."""

    size: PositiveInt
    """Side of the model's frames, through which every frame is made coarse."""
    low: str
    """(P,) uint8, base64: the lowest level of every coarse pixel and channel."""
    high: str
    """The same of the highest."""
    threshold: NonNegativeFloat
    measured: Rate
    """Share of the frames of the tried episodes above the threshold."""

    @field_validator("low", "high")
    @classmethod
    def _is_base64(cls, value: str) -> str:
        base64.b64decode(value, validate=True)
        return value

    @classmethod
    def of(cls, size: int, low: Coarse, high: Coarse, threshold: float, measured: Rate) -> Self:
        """Store ranges (P,) uint8."""
        sides = (base64.b64encode(one.tobytes()).decode() for one in (low, high))
        return cls(size=size, low=next(sides), high=next(sides), threshold=threshold, measured=measured)

    def score(self, frame: npt.NDArray[np.uint8]) -> float:
        """Root mean square over coarse pixels, in levels of 255, of how far a square frame lies outside; 0 inside."""
        low, high = (np.frombuffer(base64.b64decode(one), np.uint8) for one in (self.low, self.high))
        return float(outside(coarse(frame[None], self.size), low, high)[0])


def coarse(frames: npt.NDArray[np.uint8], size: int) -> Coarse:
    """Square frames (N, H, W, 3) of any size as coarse pixels, by way of the model's size."""
    return resize(resize(frames, size), min(SIDE, size)).reshape(len(frames), -1)


def outside(frames: Coarse, low: Coarse, high: Coarse) -> npt.NDArray[np.float64]:
    """Scores (N,) of coarse frames, given ranges (P,)."""
    levels = frames.astype(np.int16)
    beyond = np.maximum(np.maximum(low.astype(np.int16) - levels, levels - high.astype(np.int16)), 0)
    scores: npt.NDArray[np.float64] = np.sqrt(np.square(beyond, dtype=np.float64).mean(axis=1))
    return scores
