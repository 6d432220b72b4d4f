"""Results of `lewm surprise`."""

from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from lewm_cli.config import Section
from lewm_cli.store import Measurement
from lewm_cli.surprise.detector_score import DetectorScore

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


class PerturbedEpisode(Section):
    """One episode simulated twice with the same actions, untouched and changed at an event.

    `event` is the index of the first value of the curves that sees the change; `size` that of the change, in the unit
    of the perturbation.
    """

    episode: int
    event: NonNegativeInt
    size: float
    untouched: dict[Detector, Curve]
    perturbed: dict[Detector, Curve]


class PerturbationResult(Measurement):
    """Episodes with and without a violation of expectation, and scores of every detector that tells them apart."""

    perturbation: str
    size_unit: str
    """Unit of the episodes' `size`."""
    frameskip: PositiveInt
    seed: int
    scores: dict[Detector, DetectorScore]
    episodes: tuple[PerturbedEpisode, ...]
