"""The result of `lewm surprise`: curves of every detector along recorded episodes, and events in them."""

from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

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
    size: float | None
    """The peak over the threshold; None if that is 0."""


class Threshold(Section):
    """Surprise above which a step belongs to an event: of an alarm, with what one has to know of it."""

    value: float
    false_alarms: float
    """The rate asked for: at most this share of the steps of an undisturbed episode lies above, on average."""
    calibrated_on: str
    """Name of the recording."""
    time: str
    """End of the calibration; that of the alarm."""


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
    seconds_per_row: float | None = None
    """None where the recording does not say how fast it is."""
    threshold: Threshold | None = None
    """None without an alarm; then there are no events."""
    events: tuple[Event, ...] = ()
    """In the order of episodes and rows."""

    def rows(self, episode: EpisodeCurves) -> range:
        """The row of the episode that each value of its curves is about."""
        return range(self.frameskip, self.frameskip * (len(episode.curves["model"]) + 1), self.frameskip)

    def seconds_of(self, row: int) -> float | None:
        """Time from an episode's start to one of its rows; None if it is not known."""
        return None if self.seconds_per_row is None else row * self.seconds_per_row

    def events_of(self, episode: int) -> list[Event]:
        """The events of one episode."""
        return [event for event in self.events if event.episode == episode]

    def ranked_events(self) -> list[Event]:
        """The events, the highest peak first."""
        return sorted(self.events, key=lambda event: -event.peak)
