"""A look at a source before it is converted: all of its actions, and the first frames of some episodes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lewm_cli.config import Box, Fit, Framing
from lewm_cli.data.frame_writer import USUAL, encode
from lewm_cli.data.framing import square
from lewm_cli.errors import LewmError
from lewm_cli.exchange.pixel_conversion import Colors, PixelConversion, recognize, sample_frames
from lewm_cli.exchange.source import Source
from lewm_cli.plural import counted

FEWEST = 2
"""Frames of an episode: one alone shows nothing that an action does."""

USUAL_SIZE = 224
"""Side of the frames of a recording in pixels, where the camera's are not smaller."""

FILE_BYTES, ROW_BYTES = 10_000, 100
"""Bytes of a recording beside its frames, about: of HDF5's own tables, and of the other columns in every row."""


@dataclass(frozen=True)
class AskedFrames:
    """A wish about the frames of a recording, in the words of the command line.

    Args:
        fit, box: say how they become square.
        size: their side in pixels; 224, or the camera's own where that is less, if not given.
        colors, white: of raw frames; the value of white is recognized if not given.
    """

    fit: Fit = "crop"
    box: Box | None = None
    size: int | None = None
    colors: Colors = "rgb"
    white: int | None = None


@dataclass(frozen=True, eq=False)
class Survey:
    """All that is known of a source before its frames are decoded.

    Args:
        frames: (E,) number of frames of each episode; of actions, where only decoding tells it.
        guessed: episodes of which only decoding tells how many frames they have.
        low, high: (A,) least and greatest known value of every action dimension, NaN where none is known.
        frame_bytes: of a packed frame, on average of those that were looked at.
        damaged: sentences about episodes that cannot be read, by number; those whose frames are damaged later are
            found while they are decoded.
    """

    source: Source
    pixels: PixelConversion
    framing: Framing
    frames: npt.NDArray[np.int64]
    guessed: int
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    frame_bytes: float
    damaged: dict[int, str]

    @property
    def short(self) -> int:
        """Number of episodes that are known to have fewer than two frames, and are left out."""
        return int((self.frames < FEWEST).sum())

    @property
    def bytes(self) -> int:
        """Size of the recording, about."""
        return int(FILE_BYTES + (self.frame_bytes + ROW_BYTES) * self.frames.sum())

    @property
    def notes(self) -> tuple[str, ...]:
        """Choices made on the user's behalf, one line each."""
        made = self.pixels.format.notes
        return (*self.source.notes, *([f"frames are read {', '.join(made)}"] if made else []))


def survey(source: Source, asked: AskedFrames, advance: Callable[[int], None]) -> Survey:
    """Look at a source.

    Args:
        advance: called with 1 after every episode.

    Raises:
        UsageError: the box does not lie inside of the frames.
        LewmError: no episode can be read, or what its frames are cannot be known.
    """
    damaged: dict[int, str] = {}
    low: list[npt.NDArray[np.float64]] = []
    high: list[npt.NDArray[np.float64]] = []
    frames = np.zeros(len(source.episodes), np.int64)
    for number, episode in enumerate(source.episodes):
        try:
            actions = source.actions(number)
            if low and actions.shape[1] != len(low[0]):
                raise LewmError(
                    f"{episode.name} has {counted(actions.shape[1], 'action dimension')}, and the episodes before it "
                    f"{len(low[0])}; name those that all have with --action"
                )
            if len(vast := np.argwhere(np.abs(actions) > np.finfo(np.float32).max)):
                raise LewmError(
                    f"{episode.name} has an action in row {vast[0, 0]:,} that is infinite, or too large for 32 bits; "
                    "write NaN where no action was taken"
                )
        except LewmError as error:
            damaged[number] = str(error)
        else:
            frames[number] = len(actions) if episode.frames is None else episode.frames
            # Unlike min and max they pass over NaN, and give it where there is nothing else.
            low.append(np.fmin.reduce(actions, axis=0, initial=np.nan))
            high.append(np.fmax.reduce(actions, axis=0, initial=np.nan))
        advance(1)
    sample, further = sample_frames(source, damaged)
    damaged |= further
    first = [frame for each in sample.values() for frame in each]
    if not first:
        why = f": {damaged[min(damaged)]}" if damaged else ""
        raise LewmError(f"no episode of {source.name} can be read{why}")
    pixels = recognize(source.name, first, asked.colors, asked.white)
    height, width, box = pixels.format.height, pixels.format.width, asked.box
    sides = (box.width, box.height) if box else (width, height)
    usual = min(USUAL_SIZE, min(sides) if asked.fit == "crop" else max(sides))
    tree = {"width": width, "height": height, "size": asked.size or usual, "fit": asked.fit, "box": box}
    framing = Framing.build(tree, "--box")
    packed: list[int] = []
    for number, each in sample.items():
        try:
            squares = np.stack([square(pixels.rgb(frame), framing) for frame in each])
        except LewmError as error:
            damaged[number] = f"a frame of {source.episodes[number].name} {error}"
        else:
            packed += map(len, encode(squares, USUAL).chunks)
    if not packed:
        raise LewmError(damaged[min(damaged)])
    guessed = sum(episode.frames is None for episode in source.episodes)
    bounds = (np.fmin.reduce(low), np.fmax.reduce(high))
    return Survey(source, pixels, framing, frames, guessed, *bounds, float(np.mean(packed)), damaged)
