"""The result of `lewm surprise`: curves of every detector along recorded episodes."""

from typing import Literal

from pydantic import PositiveInt

from lewm_cli.config import Section
from lewm_cli.store import Measurement

Detector = Literal["model", "untrained", "latent", "pixels"]
DETECTORS: tuple[Detector, ...] = ("model", "untrained", "latent", "pixels")
"""The model's surprise; that of an untrained model; the squared step between latents, which needs no prediction; the
mean squared difference between frames in [0, 1], which needs no model."""

Curve = tuple[float | None, ...]
"""One value per model step: value k is about the frame (k + 1) * frameskip rows after the episode's first. None where
an action on the way there was not recorded."""


class EpisodeCurves(Section):
    """Curves of every detector along one recorded episode."""

    episode: int
    curves: dict[Detector, Curve]


class SurpriseResult(Measurement):
    """Surprise along recorded episodes."""

    frameskip: PositiveInt
    seed: int
    episodes: tuple[EpisodeCurves, ...]
    left_out: tuple[int, ...]
    """Episodes too short for one step."""
