"""The result of `lewm decode`: how alike imagined and recorded frames are, step by step, and filmstrips of both."""

import base64
import io
from typing import Literal, Self

import numpy as np
from PIL import Image
from pydantic import NonNegativeInt, PositiveInt

from lewm_cli.config import Section
from lewm_cli.data import Likeness, resize
from lewm_cli.statistics import Estimate
from lewm_cli.store import Measurement

Shown = Literal["imagined", "re-encoded", "copied", "mean"]
SHOWN: tuple[Shown, ...] = ("imagined", "re-encoded", "copied", "mean")
"""What is compared with the recorded frame: its latent imagined open loop and decoded; its own latent decoded, which is
the decoder's limit; the last frame before imagination began; the mean frame, for which nothing has to be known."""

WIDEST = 128
"""Pixels of a frame in a filmstrip."""

GAP = 2
"""White pixels between frames."""


def sheet_of(frames: np.ndarray) -> np.ndarray:
    """Frames (R, C, side, side, 3) uint8 in R rows of a picture (H, W, 3), with white between them."""
    rows, columns, side = frames.shape[:3]
    spaced = np.pad(frames, ((0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255)
    return spaced.swapaxes(1, 2).reshape(rows * (side + GAP), columns * (side + GAP), 3)[:-GAP, :-GAP]


class Filmstrip(Section):
    """One recorded stretch: rows of frames recorded, imagined, re-encoded and copied, in one picture.

    The first column is the last frame of the context, which has nothing imagined yet: its own latent is decoded there.
    """

    episode: int
    row: NonNegativeInt
    """Of the recording: the last frame of the context."""
    side: PositiveInt
    """Pixels of a frame."""
    sheet: str
    """A WebP file, base64: 4 rows of horizon + 1 frames, with a gap of 2 white pixels."""

    @classmethod
    def of(cls, episode: int, row: int, frames: np.ndarray) -> Self:
        """Stores frames (4, horizon + 1, H, W, 3) uint8, smaller if they are large."""
        side = min(frames.shape[2], WIDEST)
        rows, columns = frames.shape[:2]
        small = resize(frames.reshape(-1, *frames.shape[2:]), side).reshape(rows, columns, side, side, 3)
        sheet = sheet_of(small)
        buffer = io.BytesIO()
        Image.fromarray(sheet).save(buffer, "webp", quality=90, method=4)
        return cls(episode=episode, row=row, side=side, sheet=base64.b64encode(buffer.getvalue()).decode())

    def picture(self) -> np.ndarray:
        """The sheet (H, W, 3) uint8."""
        with Image.open(io.BytesIO(base64.b64decode(self.sheet))) as picture:
            return np.asarray(picture.convert("RGB"))

    def frames(self) -> np.ndarray:
        """The frames (4, horizon + 1, side, side, 3) uint8 as they were stored."""
        sheet, step = np.pad(self.picture(), ((0, GAP), (0, GAP), (0, 0))), self.side + GAP
        spaced = sheet.reshape(sheet.shape[0] // step, step, sheet.shape[1] // step, step, 3).swapaxes(1, 2)
        return spaced[:, :, : self.side, : self.side]


class StepScore(Section):
    """Scores of the frames so many model steps ahead."""

    likeness: Likeness
    changed: Estimate | None
    """PSNR, dB, on the pixels of the true frame that differ from the last one of the context; None where none do."""


class DecodeResult(Measurement):
    """Frames imagined along recorded episodes with the actions taken there, beside their limit and their floors."""

    seed: int
    decoder_sha256: str
    """Of the decoder's file."""
    frameskip: PositiveInt
    horizon: PositiveInt
    """Model steps imagined."""
    episodes: tuple[int, ...]
    stretches: PositiveInt
    """Recorded stretches imagined, all episodes together."""
    steps: dict[Shown, tuple[StepScore, ...]]
    """Of every model step, the first one first."""
    changed_share: tuple[float, ...]
    """Share of pixels that differ from the last frame of the context, by model step."""
    filmstrips: tuple[Filmstrip, ...]
