"""Calibrates which frames are unlike those of a recording, on the episodes that calibrate the threshold of surprise."""

import numpy as np

from lewm_cli.data import Coarse, FrameAlarm, coarse, outside
from lewm_cli.statistics import Rate
from lewm_cli.surprise.alarm import conformal_threshold

SCORED = 64
"""Frames of an episode that are scored at most; ranges are those of all."""


class FrameRanges:
    """Collects the frames of episodes.

    A calibrating episode is scored by the ranges of the other ones, as a new episode is by those of all. More episodes
    only make ranges wider and scores lower, so that what the threshold promises holds for the new one.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._scored: dict[int, Coarse] = {}
        self._low: dict[int, Coarse] = {}
        self._high: dict[int, Coarse] = {}

    def add(self, episode: int, frames: np.ndarray) -> None:
        """Take the frames (K, size, size, 3) uint8 of an episode."""
        pixels = coarse(frames, self.size)
        self._low[episode], self._high[episode] = pixels.min(axis=0), pixels.max(axis=0)
        self._scored[episode] = pixels[np.unique(np.linspace(0, len(pixels) - 1, SCORED).round().astype(int))]

    def alarm(self, calibrated: tuple[int, ...], tried: tuple[int, ...], false_alarms: float) -> FrameAlarm:
        """Compute the threshold of a rate on some episodes, and try it on others.

        Raises:
            TooFewError: too few episodes for the rate.
        """
        lows, highs = (np.stack([of[episode] for episode in calibrated]) for of in (self._low, self._high))
        low, high = lows.min(axis=0), highs.max(axis=0)
        low_of_others, high_of_others = _of_others(lows), 255 - _of_others(255 - highs)
        scores = [
            outside(self._scored[episode], low_of_others[number], high_of_others[number])
            for number, episode in enumerate(calibrated)
        ]
        threshold = conformal_threshold(scores, false_alarms)
        above = [outside(self._scored[episode], low, high) > threshold for episode in tried]
        measured = Rate.of(np.concatenate(above), np.repeat(tried, [len(one) for one in above]))
        return FrameAlarm.of(self.size, low, high, threshold, measured)


def _of_others(lows: Coarse) -> Coarse:
    """For every row (E, P) the minimum of all other rows; 255 where there is no other."""
    padded = np.concatenate([lows, np.full((1, lows.shape[1]), 255, np.uint8)])
    lowest, second = np.partition(padded, 1, axis=0)[:2]
    return np.where(lows == lowest, second, lowest)
