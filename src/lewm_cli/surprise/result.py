"""What a surprise measurement found."""

from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

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
    """What every detector says along one recorded episode."""

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

    `event` is the index of the first value of the curves that sees the change; `size` says how large the change was,
    in the unit of the perturbation.
    """

    episode: int
    event: NonNegativeInt
    size: float
    untouched: dict[Detector, Curve]
    perturbed: dict[Detector, Curve]


class DetectorScore(Section):
    """How clearly a detector tells perturbed from untouched episodes; intervals are 95 % over episodes.

    `ratio` is the mean over episodes at the event, perturbed over untouched; `log_ratio` the mean natural logarithm of
    the ratio per episode; `after` the ratio over the later steps whose whole context lies behind the event. `t_test` is
    the p-value of a paired t-test of the values at the event (the paper's), `wilcoxon` that of a signed-rank test.
    `auroc` is the share of pairs of one perturbed and one untouched episode in which the perturbed one scores higher at
    the event.
    """

    ratio: float
    ratio_low: float
    ratio_high: float
    log_ratio: float
    log_ratio_low: float
    log_ratio_high: float
    after: float
    after_low: float
    after_high: float
    t_test: float
    wilcoxon: float
    auroc: float

    def __str__(self) -> str:
        return f"{_short(self.ratio)} [{_short(self.ratio_low)}, {_short(self.ratio_high)}]"


class PerturbationResult(Measurement):
    """Episodes with and without a violation of expectation, and how well each detector tells them apart."""

    perturbation: str
    size_unit: str
    """Unit of the episodes' `size`."""
    frameskip: PositiveInt
    seed: int
    scores: dict[Detector, DetectorScore]
    episodes: tuple[PerturbedEpisode, ...]


def _short(ratio: float) -> str:
    """Three digits; without an exponent where a table has no room for one."""
    return f"{ratio:.0f}" if 999.5 <= ratio < 1e6 else f"{ratio:.3g}"
