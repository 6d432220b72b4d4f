"""Results of imagining what happens: quantities read from imagined latents, and errors of the latents themselves."""

from typing import Literal

from pydantic import PositiveInt

from lewm_cli.config import Section
from lewm_cli.statistics import BreakEven, Estimate

Source = Literal["imagined", "copying", "encoded"]
SOURCES: tuple[Source, ...] = ("imagined", "copying", "encoded")
"""The latent that the model predicts open loop; the last one of the context, which says that nothing changes; and that
of the frame which was recorded then, with the error that the probe has anyway."""


class ReadError(Section):
    """Errors of a probe at one horizon: root mean squared error in the quantity's unit, and R2."""

    rmse: float
    r2: float


class ImaginedReading(Section):
    """One quantity, read by one kind of probe from latents 1 to H model steps ahead."""

    errors: dict[Source, tuple[ReadError, ...]]
    """By source, one per horizon."""
    break_even: BreakEven
    """The first horizon, in model steps, at which imagining errs no less than copying."""


class ImaginedTarget(Section):
    """One quantity, read from imagined latents by the probes that were fitted to encoded ones."""

    name: str
    unit: str
    linear: ImaginedReading
    mlp: ImaginedReading


class Imagination(Section):
    """Recorded stretches of test episodes, imagined with their actions."""

    horizon: PositiveInt
    """Model steps."""
    frameskip: PositiveInt
    history: PositiveInt
    """Recorded frames that imagining begins with."""
    stretches: PositiveInt
    episodes: PositiveInt
    targets: tuple[ImaginedTarget, ...]


class OpenLoopError(Section):
    """Errors at one horizon: mean squared difference of a latent's numbers to those of the recorded frame."""

    asked: PositiveInt
    """Environment steps that the standard asks for."""
    steps: PositiveInt
    """Model steps that were imagined, as many environment steps as come nearest."""
    imagined: float
    copying: float
    """Of the last latent of the context, in place of a prediction."""
    ratio: Estimate
    """Imagined over copying; the interval is over episodes."""


class OpenLoop(Section):
    """Errors of imagined latents in the model's own space, one stretch per episode."""

    frameskip: PositiveInt
    history: PositiveInt
    episodes: PositiveInt
    horizons: tuple[OpenLoopError, ...]
