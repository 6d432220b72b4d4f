"""The threshold above which surprise raises an alarm, and the events that a curve has above it.

The threshold is conformal: it promises a rate of false alarms for episodes like those that it was calibrated on,
whatever their surprise is distributed like.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from lewm_cli.config import Section
from lewm_cli.errors import LewmError
from lewm_cli.statistics import Rate
from lewm_cli.store import Measurement
from lewm_cli.surprise.surprise_result import Curve


class Alarm(Measurement):
    """A threshold of a run's surprise, calibrated on some episodes of a recording and tried on others of it."""

    false_alarms: float
    """The rate asked for: the expected share of the model steps of a new episode that lie above the threshold."""
    threshold: float
    """Of surprise: the squared error of the predicted latent, summed over dimensions."""
    frameskip: PositiveInt
    seed: int
    """Of the draw of the calibrating episodes."""
    calibrated: tuple[int, ...]
    """Episodes that the threshold was computed from."""
    tried: tuple[int, ...]
    """The other episodes."""
    measured: Rate
    """Share of their model steps above the threshold."""


class Event(Section):
    """Model steps in a row whose surprise lies above the threshold."""

    episode: int
    row: NonNegativeInt
    """Of the episode, counted from 0: the first frame that surprised."""
    seconds: float | None
    """From the episode's start to that frame; None where the recording does not say how fast it is."""
    steps: PositiveInt
    """Model steps that the event lasts."""
    duration: float | None
    """The same in seconds."""
    peak: float
    """The highest surprise."""
    size: float
    """The peak over the threshold."""


def conformal_threshold(curves: Sequence[np.ndarray], false_alarms: float) -> float:
    """Computes the lowest threshold that keeps the expected share of false alarms in a new episode.

    Conformal risk control (Angelopoulos et al., arXiv 2208.02814): the risk of an episode is the share of its steps
    above the threshold, and one further episode counts as if every step of it were. Steps of one episode may depend on
    each other as they like; episodes have to be exchangeable.

    Args:
        curves: surprise of each calibrating episode, (K,) finite values, each of at least one step.
        false_alarms: the share, between 0 and 1.

    Raises:
        LewmError: so few episodes cannot promise so low a rate.
    """
    episodes = len(curves)
    # A threshold at the k-th lowest of all values leaves above it the weights of those that are higher.
    allowed = false_alarms * (episodes + 1) - 1
    if allowed < -1e-9:
        needed = int(np.ceil(1 / false_alarms - 1e-9)) - 1
        raise LewmError(
            f"{episodes} episodes to calibrate on can promise no rate of false alarms below {1 / (episodes + 1):.2%}; "
            f"{false_alarms:.2%} takes {needed} of them"
        )
    values = np.concatenate(curves)
    weights = np.concatenate([np.full(len(curve), 1 / len(curve)) for curve in curves])
    order = np.argsort(values)
    above = weights.sum() - np.cumsum(weights[order])
    return float(values[order][np.argmax(above <= allowed + 1e-9)])


def find_events(
    episode: int, curve: Curve, threshold: float, frameskip: int, seconds_per_row: float | None
) -> list[Event]:
    """Finds runs of model steps above a threshold; a step whose surprise is unknown ends one.

    Args:
        seconds_per_row: environment step; None if it is not known.
    """
    values = np.array(curve, float)
    above = np.concatenate([[False], values > threshold, [False]])
    begins, ends = np.flatnonzero(~above[:-1] & above[1:]), np.flatnonzero(above[:-1] & ~above[1:])
    per_step = None if seconds_per_row is None else seconds_per_row * frameskip
    return [
        Event(
            episode=episode,
            row=(begin + 1) * frameskip,
            seconds=None if per_step is None else (begin + 1) * per_step,
            steps=end - begin,
            duration=None if per_step is None else (end - begin) * per_step,
            peak=values[begin:end].max(),
            size=values[begin:end].max() / threshold if threshold > 0 else float("inf"),
        )
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
    ]
