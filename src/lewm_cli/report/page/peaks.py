"""Where recorded episodes surprise the model most."""

from dataclasses import dataclass

from lewm_cli.surprise import SurpriseResult

LISTED = 5
"""Episodes listed."""


@dataclass(frozen=True)
class Peak:
    """The highest surprise of an episode.

    Args:
        episode: its number.
        step: environment steps after its start.
        surprise: the value there.
    """

    episode: int
    step: int
    surprise: float


def highest_peaks(result: SurpriseResult) -> list[Peak]:
    """The episodes with the highest peaks, the highest first."""
    peaks = []
    for episode in result.episodes:
        known = [(value, k) for k, value in enumerate(episode.curves["model"]) if value is not None]
        if known:
            value, k = max(known)
            peaks.append(Peak(episode.episode, (k + 1) * result.frameskip, value))
    return sorted(peaks, key=lambda peak: -peak.surprise)[:LISTED]
