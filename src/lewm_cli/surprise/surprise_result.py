"""The result of `lewm surprise`: curves of every detector along recorded episodes."""

from typing import Literal

from pydantic import PositiveInt

from lewm_cli.config import Section
from lewm_cli.store import Measurement

Detector = Literal["model", "untrained", "latent", "pixels", "beside"]
DETECTORS: tuple[Detector, ...] = ("model", "untrained", "latent", "pixels")
"""The model's surprise; that of an untrained model; the squared step between latents, which needs no prediction; the
mean squared difference between frames in [0, 1], which needs no model. Where it is asked for, `beside` is another
run's surprise."""

Curve = tuple[float | None, ...]
"""One value per model step: value k is about the frame (k + 1) * frameskip rows after the episode's first. None where
an action on the way there was not recorded."""


class EpisodeCurves(Section):
    """Curves of every detector along one recorded episode."""

    episode: int
    curves: dict[Detector, Curve]


class BesideRun(Section):
    """A run that is measured as a detector beside another one."""

    run: str
    weights_sha256: str


class SurpriseResult(Measurement):
    """Surprise along recorded episodes."""

    frameskip: PositiveInt
    horizon: PositiveInt = 1
    """Model steps that are looked ahead."""
    seed: int
    beside: BesideRun | None = None
    episodes: tuple[EpisodeCurves, ...]
    left_out: tuple[int, ...]
    """Episodes too short for one step."""
