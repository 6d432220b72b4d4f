"""Frames that are unlike the recorded ones are told apart at the rate of false alarms that is promised."""

import numpy as np
import pytest

from lewm_cli.data import outside
from lewm_cli.errors import UnlikeError
from lewm_cli.statistics import Rate
from lewm_cli.surprise import FrameRanges, TooFewError

SIZE = 8


def episode_of(generator: np.random.Generator, frames: int = 6) -> np.ndarray:
    """Frames (K, 8, 8, 3) whose colors are the episode's own, around which they vary little."""
    own = generator.normal(128, 12, (1, SIZE, SIZE, 3))
    return np.clip(own + generator.normal(0, 4, (frames, SIZE, SIZE, 3)), 0, 255).astype(np.uint8)


def calibrated(generator: np.random.Generator, episodes: int, tried: int = 1) -> FrameRanges:
    """The frames of so many episodes, and of some more."""
    ranges = FrameRanges(SIZE)
    for episode in range(episodes + tried):
        ranges.add(episode, episode_of(generator))
    return ranges


@pytest.mark.parametrize(("rate", "episodes"), [(0.2, 9), (0.1, 30)])
def test_rate_of_false_alarms_is_kept_over_many_draws(rate: float, episodes: int):
    generator, found = np.random.default_rng(0), []
    for _ in range(60):
        ranges = calibrated(generator, episodes, tried=8)
        alarm = ranges.alarm(tuple(range(episodes)), tuple(range(episodes, episodes + 8)), rate)
        fresh = [np.mean([alarm.score(frame) > alarm.threshold for frame in episode_of(generator)]) for _ in range(4)]
        found.append((np.mean(fresh), alarm.measured.rate))
    assert (np.mean(found, axis=0) <= 1.2 * rate).all()
    assert (np.mean(found, axis=0) > 0).all()  # of no use if it were never above


def test_every_calibrating_episode_is_scored_by_the_others():
    generator, ranges, seen = np.random.default_rng(1), FrameRanges(SIZE), []
    for episode in range(5):
        seen.append(episode_of(generator))
        ranges.add(episode, seen[-1])
    alarm = ranges.alarm((0, 1, 2, 3), (4,), 0.9)
    pixels = [frames.reshape(len(frames), -1) for frames in seen]
    scores = []
    for left_out in range(4):
        others = np.concatenate([pixels[episode] for episode in range(4) if episode != left_out])
        scores.append(outside(pixels[left_out], others.min(axis=0), others.max(axis=0)))
    assert alarm.threshold in np.concatenate(scores)
    share = sum((curve > alarm.threshold).mean() for curve in scores)
    assert (share + 1) / 5 <= 0.9
    every = np.concatenate(pixels[:4])
    assert [alarm.score(frame) for frame in seen[4]] == pytest.approx(
        outside(pixels[4], every.min(axis=0), every.max(axis=0)).tolist()
    )


def test_frames_that_never_change_are_like_themselves_only():
    ranges, frame = FrameRanges(SIZE), np.full((3, SIZE, SIZE, 3), 77, np.uint8)
    for episode in range(4):
        ranges.add(episode, frame)
    alarm = ranges.alarm((0, 1, 2), (3,), 0.5)
    assert (alarm.threshold, alarm.score(frame[0]), alarm.score(frame[0] + 1)) == (0, 0, 1)
    said = str(UnlikeError("the frame", alarm.score(frame[0] + 1), alarm.threshold))
    assert said.startswith(
        "the frame is unlike the frames of the recording: its score 1 is more than the threshold 0; look"
    )
    with pytest.raises(TooFewError):
        ranges.alarm((0, 1, 2), (3,), 0.01)


def test_frames_of_one_episode_say_little_of_others():
    generator = np.random.default_rng(2)
    ranges, usual = calibrated(generator, 9, tried=0), np.full((6, SIZE, SIZE, 3), 128, np.uint8)
    ranges.add(9, np.zeros_like(usual))
    ranges.add(10, usual)
    found = ranges.alarm(tuple(range(9)), (9, 10), 0.2).measured
    above = np.repeat([True, False], 6)
    assert found == Rate.of(above, np.repeat([9, 10], 6))
    assert found.high > Rate.of(above, np.arange(12)).high
