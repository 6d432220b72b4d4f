"""The time of an evaluation, split into its parts."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import NonNegativeFloat

from lewm_cli.config import Section


class TimeSplit(Section):
    """Seconds of wall time that an evaluation spent on each of its parts."""

    simulator: NonNegativeFloat = 0.0
    """Waited for simulators that begin, follow plans and draw frames."""
    encoder: NonNegativeFloat = 0.0
    """Frames to latents."""
    planner: NonNegativeFloat = 0.0
    """Plans found; of a policy all that it computes."""
    random: NonNegativeFloat = 0.0
    """Waited for the random policy, as far as it did not act while plans were found."""

    @property
    def total(self) -> float:
        """Seconds, all parts together."""
        return self.simulator + self.encoder + self.planner + self.random


class Clock:
    """Adds up the seconds of every part, to those spent before if an interrupted evaluation goes on."""

    def __init__(self, spent: TimeSplit | None = None) -> None:
        self._seconds = (spent or TimeSplit()).model_dump()

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Time one of the parts."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self._seconds[part] += time.monotonic() - begun

    @property
    def spent(self) -> TimeSplit:
        """The seconds so far."""
        return TimeSplit(**self._seconds)
