"""The threshold above which surprise raises an alarm, and the events that a curve has above it.

The threshold is conformal: it promises a rate of false alarms for episodes like those that it was calibrated on,
whatever their surprise is distributed like.
"""

import math
from collections.abc import Sequence

import numpy as np
from pydantic import PositiveInt

from lewm_cli.data import FrameAlarm
from lewm_cli.errors import LewmError
from lewm_cli.plural import counted
from lewm_cli.statistics import Rate
from lewm_cli.store import Measurement
from lewm_cli.surprise.surprise_result import Curve, Event, Threshold

ENOUGH = 400
"""Episodes measured for a threshold, unless its rate is so low that it takes more."""

CALIBRATING = 0.75
"""Share of them that it is computed from; the others try it."""

ROUNDING = 1e-9
"""Tolerance of shares that are sums of fractions."""


class TooFewError(LewmError):
    """Too few episodes to calibrate on for the rate that was asked for."""


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
    with_event: Rate
    """Share of them in which at least one step lies above it."""
    frames: FrameAlarm
    """The threshold of single frames, calibrated and tried on the same episodes."""

    @property
    def used(self) -> Threshold:
        """The part of it that a result keeps."""
        return Threshold(
            value=self.threshold, false_alarms=self.false_alarms, calibrated_on=self.dataset.name, time=self.time
        )

    def __str__(self) -> str:
        known = f"calibrated on {counted(len(self.calibrated), 'episode')} of {self.dataset.name}"
        found = f"{self.measured.rate:.2%} [{100 * self.measured.low:.2f}, {100 * self.measured.high:.2f}]"
        promised = f"at most {share(self.false_alarms)} of the steps of an undisturbed episode"
        return (
            f"threshold {self.threshold:.4g}: {promised}, {known}; "
            f"on {counted(len(self.tried), 'other')} {found}, with an event in {self.with_event.successes}; "
            f"{self.frames.measured.rate:.2%} of their frames are unlike the others"
        )


def share(rate: float) -> str:
    """A rate of false alarms as it is typed: 1%, 0.25%."""
    return f"{100 * rate:.6g}%"


def needed_episodes(false_alarms: float) -> int:
    """The least episodes that a threshold of this rate can be calibrated on."""
    return math.ceil(1 / false_alarms - ROUNDING) - 1


def draw_calibrating(episodes: Sequence[int], false_alarms: float, seed: int) -> list[int]:
    """Draws the episodes that an alarm is calibrated and tried on, in the order in which `calibrating` takes them.

    Raises:
        TooFewError: too few for the rate.
    """
    most = max(ENOUGH, math.ceil(4 / false_alarms))
    drawn: list[int] = np.random.default_rng(seed).permutation(episodes)[:most].tolist()
    _allowed_shares(calibrating(len(drawn), false_alarms), false_alarms)
    return drawn


def calibrating(drawn: int, false_alarms: float) -> int:
    """Says how many of the drawn episodes calibrate; the threshold is tried on the others.

    Three quarters of them: the threshold errs on the quiet side by one episode, so that of few, which half would be,
    only the highest values lie above it. Where these are too few for so low a rate, as many as it takes, and at least
    one is left to try the threshold on; that shows little, and its interval says so.
    """
    return max(0, min(max(int(CALIBRATING * drawn), needed_episodes(false_alarms)), drawn - 1))


def conformal_threshold(curves: Sequence[np.ndarray], false_alarms: float) -> float:
    """Computes the lowest threshold that keeps the expected share of false alarms in a new episode.

    Conformal risk control (Angelopoulos et al., arXiv 2208.02814): the risk of an episode is the share of its steps
    above the threshold, and one further episode counts as if every step of it were. Steps of one episode may depend on
    each other as they like; episodes have to be exchangeable.

    Args:
        curves: surprise of each calibrating episode, (K,) finite values, each of at least one step.
        false_alarms: the share, between 0 and 1.

    Raises:
        TooFewError: so few episodes cannot promise so low a rate.
    """
    # A threshold at the k-th lowest of all values leaves above it the weights of those that are higher.
    allowed = _allowed_shares(len(curves), false_alarms)
    values = np.concatenate(curves)
    weights = np.concatenate([np.full(len(curve), 1 / len(curve)) for curve in curves])
    order = np.argsort(values)
    above = weights.sum() - np.cumsum(weights[order])
    return float(values[order][np.argmax(above <= allowed + ROUNDING)])


def _allowed_shares(episodes: int, false_alarms: float) -> float:
    """The sum of the shares of all calibrating episodes that may lie above; raises TooFewError."""
    allowed = false_alarms * (episodes + 1) - 1
    if allowed < -ROUNDING:
        raise TooFewError(
            f"{counted(episodes, 'episode')} to calibrate on can promise no rate of false alarms below "
            f"{1 / (episodes + 1):.2%}; {share(false_alarms)} takes {needed_episodes(false_alarms):,} of them"
        )
    return allowed


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
            size=values[begin:end].max() / threshold if threshold > 0 else None,
        )
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
    ]
