"""The numbers that raw frames are made of, and how all of them become RGB frames of uint8."""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

CHANNELS = (1, 3, 4)
"""Numbers of channels that can be read: gray, RGB, and RGB with transparency."""

ROUNDING = 1 / 512
"""Share of white by which a value may miss the range; of 8 bits it is rounded away."""

DARK = 16
"""The least that is white: what stays below it, and is not of uint8, is no frame of 0 to 255."""

Raw = npt.NDArray[Any]


@dataclass(frozen=True)
class FrameFormat:
    """The format of raw frames; by default (height, width, 3) uint8, RGB.

    Args:
        channels: 1 also where frames have no axis of channels.
        channels_first: (channels, height, width).
        white: the value of white in frames that are not of uint8.
        bgr: blue comes first.
    """

    height: int
    width: int
    channels: int = field(default=3, kw_only=True)
    channels_first: bool = field(default=False, kw_only=True)
    white: int | None = field(default=None, kw_only=True)
    bgr: bool = field(default=False, kw_only=True)

    @classmethod
    def of_shape(cls, shape: tuple[int, ...]) -> Self | None:
        """The format of frames of this shape; None if they have no axis that can be one of channels."""
        if len(shape) == 2:
            shape = (*shape, 1)
        if len(shape) != 3:
            return None
        last, first = shape[2] in CHANNELS, shape[0] in CHANNELS
        if not last and not first:
            return None
        if first and (not last or (shape[0] != shape[1] and shape[1] == shape[2])):
            return cls(shape[1], shape[2], channels=shape[0], channels_first=True)
        return cls(shape[0], shape[1], channels=shape[2])

    @property
    def notes(self) -> tuple[str, ...]:
        """The steps that make frames RGB of 8 bits, in words."""
        scaled = {None: "", 1: "times 255", 255: "rounded to 8 bits"}
        words = (
            {1: "gray made RGB", 3: "", 4: "without their fourth channel"}[self.channels],
            "transposed from channels first" if self.channels_first else "",
            scaled.get(self.white, f"scaled to 255 from {self.white or 0:g}"),
            "blue and red exchanged" if self.bgr else "",
        )
        return tuple(filter(None, words))

    def in_range(self, frames: Raw) -> bool:
        """Tell whether all values of raw frames (K, ...) lie between black and white; NaN does not."""
        if self.white is None:
            return True
        slack, colors = self.white * ROUNDING, self._colors(frames)
        return bool(((colors >= -slack) & (colors <= self.white + slack)).all())

    def rgb(self, frames: Raw) -> npt.NDArray[np.uint8]:
        """Frames (K, height, width, 3) of raw ones (K, ...), whose values are in range."""
        colors = self._colors(frames)
        if self.white:
            colors = np.rint(colors.astype(np.float32) * (255 / self.white)).astype(np.uint8)
        if self.bgr:
            colors = colors[..., ::-1]
        return np.ascontiguousarray(np.broadcast_to(colors, (*colors.shape[:3], 3)))

    def _colors(self, frames: Raw) -> Raw:
        frames = np.moveaxis(frames, 1, -1) if self.channels_first else frames
        return frames.reshape(len(frames), self.height, self.width, self.channels)[..., :3]


def white_of(low: float, high: float, kind: str) -> int | None:
    """The value of white in frames whose values lie between these two; None if that cannot be known.

    Args:
        low, high: NaN if any value is.
        kind: letter of their type, as NumPy has it.
    """
    if low >= -ROUNDING and high <= 1 + ROUNDING and kind in "fb":
        return 1
    if low >= 0 and (high == 0 or DARK <= high <= 255):
        return 255
    return None
