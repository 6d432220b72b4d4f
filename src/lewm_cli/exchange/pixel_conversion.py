"""Raw frames of a source made RGB frames of uint8; what they are, the first frames of some episodes tell."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lewm_cli.data.frame_format import FrameFormat, white_of
from lewm_cli.errors import LewmError
from lewm_cli.exchange.source import Source

Raw = npt.NDArray[Any]
Colors = Literal["rgb", "bgr"]

SAMPLED_EPISODES = 4
SAMPLED_FRAMES = 4
"""Frames at the beginning of each of these episodes that are looked at."""


@dataclass(frozen=True)
class PixelConversion:
    """The way that the frames of a source become RGB frames.

    Args:
        shape, dtype: of every raw frame.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    format: FrameFormat

    def rgb(self, frame: Raw) -> npt.NDArray[np.uint8]:
        """A frame (height, width, 3) of a raw one.

        Raises:
            LewmError: it is of another size or type than the first ones, or has values that these have not.
        """
        if frame.shape != self.shape or frame.dtype != self.dtype:
            raise LewmError(
                f"is {_described(frame)}, and the first ones of the source are {self.dtype} of shape {self.shape}; "
                "a recording has one camera of one size"
            )
        if not self.format.in_range(frame[None]):
            raise LewmError(
                f"holds values from {frame.min():g} to {frame.max():g}, and white is {self.format.white}; say another "
                "--white N, or mend the source"
            )
        rgb: npt.NDArray[np.uint8] = self.format.rgb(frame[None])[0]
        return rgb


def sample_frames(source: Source, damaged: Mapping[int, str]) -> tuple[dict[int, list[Raw]], dict[int, str]]:
    """Decode the first frames of some episodes.

    Args:
        damaged: episodes that cannot be read, by number, with the reason; they are not tried.

    Returns:
        frames by the number of their episode, and further episodes that cannot be read.
    """
    sample: dict[int, list[Raw]] = {}
    further: dict[int, str] = {}
    whole = [number for number in range(len(source.episodes)) if number not in damaged]
    spread = np.unique(np.linspace(0, len(whole) - 1, SAMPLED_EPISODES).astype(int)).tolist() if whole else []
    # Where these are damaged, the others are tried in order, until one is not.
    for place in [*spread, *(place for place in range(len(whole)) if place not in spread)]:
        if len(sample) + len(further) >= len(spread) and sample:
            break
        try:
            with closing(source.read(whole[place]).frames) as frames:
                if first := list(islice(frames, SAMPLED_FRAMES)):
                    sample[whole[place]] = first
        except LewmError as error:
            further[whole[place]] = str(error)
    return sample, further


def recognize(name: str, frames: list[Raw], colors: Colors, white: int | None) -> PixelConversion:
    """The conversion of a source's frames, told by the first of them.

    Args:
        name: of the source.
        white: the value of white; recognized if not given.

    Raises:
        LewmError: what they are cannot be known.
    """
    first = frames[0]
    held = f"the frames of {name} are {_described(first)}"
    format = FrameFormat.of_shape(first.shape)
    if format is None or first.dtype.kind not in "uifb" or 0 in first.shape:
        raise LewmError(f"{held}; (height, width), with 1, 3 or 4 channels last or first, and numbers are needed")
    if white is None and first.dtype != np.uint8:
        alike = [frame for frame in frames if frame.dtype == first.dtype]
        low, high = (float(bound([bound(frame) for frame in alike])) for bound in (np.min, np.max))
        white = white_of(low, high, first.dtype.kind)
        if white is None:
            raise LewmError(
                f"{held} with values from {low:g} to {high:g}, which may mean several things; say what white is, for "
                "example --white 65535 for 16 bits, --white 4095 for 12, or for depths the farthest that counts"
            )
    return PixelConversion(first.shape, first.dtype, replace(format, white=white, bgr=colors == "bgr"))


def _described(frame: Raw) -> str:
    return f"{frame.dtype} of shape {frame.shape}"
