"""The horizon from which on a prediction is worth nothing more."""

from typing import Self

import numpy as np
from pydantic import PositiveInt

from lewm_cli.config import Section
from lewm_cli.statistics.bootstrap import RESAMPLES, Clusters, count_draws

LEAST_GAIN = 1e-4
"""Share of an error by which another has to be lower, to be lower by more than rounding."""


class BreakEven(Section):
    """The first of `horizon` steps at which predictions err no less than their reference; None if at none of them.

    With its 95 % bootstrap interval over episodes, of which None is the far end.
    """

    horizon: PositiveInt
    step: int | None
    low: int | None
    high: int | None

    @classmethod
    def of(cls, errors: np.ndarray, reference: np.ndarray, episodes: np.ndarray) -> Self:
        """Compares mean errors (N, H) of predictions with those of the reference, given the episode of each (N,)."""
        clusters, horizon = Clusters(episodes), errors.shape[1]
        ours, theirs = (np.stack([clusters.sums(step) for step in one.T], axis=1) for one in (errors, reference))
        drawn = count_draws(np.random.default_rng(0), len(clusters), RESAMPLES)  # the same errors, the same interval
        found = _first(drawn @ ours, drawn @ theirs)
        low, high = np.percentile(found, [2.5, 97.5], method="nearest").tolist()
        (step,) = _first(ours.sum(axis=0, keepdims=True), theirs.sum(axis=0, keepdims=True)).tolist()
        within = (None if one > horizon else int(one) for one in (step, low, high))
        return cls(horizon=horizon, **dict(zip(("step", "low", "high"), within, strict=True)))

    def __str__(self) -> str:
        return f"{self._words(self.step)} [{self._words(self.low)}, {self._words(self.high)}]"

    def _words(self, step: int | None) -> str:
        return f">{self.horizon}" if step is None else f"{step}"


def _first(errors: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The first step (R,), from 1, at which errors (R, H) are no lower than the reference; H + 1 if at none."""
    even = errors >= (1 - LEAST_GAIN) * reference
    return np.where(even.any(axis=1), even.argmax(axis=1), errors.shape[1]) + 1
