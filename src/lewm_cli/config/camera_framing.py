"""The way in which a camera's frames became the square frames of a recording."""

from typing import Literal, Self

from pydantic import NonNegativeInt, PositiveInt, model_validator

from lewm_cli.config.section import Section

Fit = Literal["crop", "pad", "squash"]
"""The middle square of a frame (`crop`), the whole frame with black beside it (`pad`), or the whole frame pressed into
a square (`squash`)."""


class Box(Section):
    """A part of a camera's frame, in pixels from its left upper corner."""

    left: NonNegativeInt
    top: NonNegativeInt
    width: PositiveInt
    height: PositiveInt


class Framing(Section):
    """The part of a camera's frames that is kept, so that later frames of it are made square in the same way."""

    width: PositiveInt
    """Of the camera's frames, pixels."""
    height: PositiveInt
    size: PositiveInt
    """Side of the square frames, pixels; reached by averaging over areas."""
    fit: Fit = "crop"
    box: Box | None = None
    """Cut out first; the whole frame if not given."""

    @model_validator(mode="after")
    def _box_inside(self) -> Self:
        box = self.box
        if box and (box.left + box.width > self.width or box.top + box.height > self.height):
            raise ValueError(
                f"the box {box.left},{box.top},{box.width},{box.height} (left, top, width, height) reaches out of "
                f"frames of {self.width} x {self.height} pixels; give one that lies inside"
            )
        return self

    def __str__(self) -> str:
        cut = f", of which {self.box.width} x {self.box.height} at {self.box.left}, {self.box.top}" if self.box else ""
        kept = (self.box.width, self.box.height) if self.box else (self.width, self.height)
        made = "as they are" if kept == (self.size, self.size) else f"{self.fit} to {self.size} x {self.size}"
        return f"{self.width} x {self.height}{cut}, {made}"
