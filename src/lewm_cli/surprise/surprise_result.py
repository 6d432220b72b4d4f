"""Results of `lewm surprise`, and how curves of many episodes are laid over each other."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
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

BEFORE, AFTER = 5, 8
"""Model steps shown before and after the event."""


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


@dataclass(frozen=True)
class Band:
    """Values of a detector over episodes at one offset from the event.

    Args:
        offset: model steps from the event.
        episodes: number that reach so far.
        median, low, high: over episodes; low and high are the 10th and 90th percentile.
    """

    offset: int
    episodes: int
    median: float
    low: float
    high: float


def bands(curves: Iterable[tuple[Curve, int]]) -> list[Band]:
    """Aligns curves, each of them given with the index of its event, at their events."""
    aligned = list(curves)
    found = []
    for offset in range(-BEFORE, AFTER + 1):
        values = [curve[event + offset] for curve, event in aligned if 0 <= event + offset < len(curve)]
        known = [value for value in values if value is not None]
        if known:
            low, median, high = np.percentile(known, [10, 50, 90]).tolist()
            found.append(Band(offset, len(known), median, low, high))
    return found
