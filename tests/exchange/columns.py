"""Sources of columns as tests open and read them, and what has to be true of the recordings in tests/fixtures."""

from pathlib import Path

import numpy as np

from lewm_cli.exchange.recognized import open_source
from lewm_cli.exchange.source import Asked, RawEpisode, Source

FIXTURES = Path(__file__).parents[1] / "fixtures" / "hdf5_sources"

STEP = 3.0
"""Pixels that an action of 1 moves the square in the fixtures."""


def opened(path: Path, **asked: object) -> Source:
    return open_source(path, path.name, Asked(**asked))


def frames_of(episode: RawEpisode) -> np.ndarray:
    return np.stack(list(episode.frames))


def places(frames: np.ndarray) -> np.ndarray:
    """The middle (T, 2) of the red square in every frame, x and y."""
    red = (frames[..., 0].astype(int) - frames[..., 2]) > 100
    return np.array([np.argwhere(one).mean(0)[::-1] for one in red])


def assert_moved_by_actions(source: Source, absolute: bool = False) -> None:
    """Actions of a row lead from its frame to the next one."""
    for number, known in enumerate(source.episodes):
        episode = source.read(number)
        seen = places(frames_of(episode))
        assert len(seen) == len(episode.actions) == known.frames
        assert np.array_equal(episode.actions, source.actions(number), equal_nan=True)
        moved = episode.actions[:-1, :2] if absolute else seen[:-1] + STEP * episode.actions[:-1, :2]
        assert np.abs(moved - seen[1:]).max() < 1.1
