"""Frames are those of the recording, wherever they are kept."""

from pathlib import Path

import numpy as np
import pytest

from lewm_cli.data import Dataset, DecodedFrames, MemoryFrames, belongs_in_memory, frames, open_dataset
from lewm_cli.errors import LewmError

pytest_plugins = ("recordings",)


@pytest.fixture
def pick(robot: Path) -> Dataset:
    return open_dataset(robot / "robot" / "pick.h5", "robot/pick")


@pytest.mark.parametrize("size", [20, 16, 10, 24])
def test_frames_in_memory_are_those_of_the_recording(pick: Dataset, size: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(frames, "READ_TOGETHER", 50)
    told: list[int] = []
    decoded = DecodedFrames(pick, size)
    kept = MemoryFrames.of(decoded, pick.rows, told.append)
    assert told == [50, 50, 50, 24]
    rows = np.array([5, 3, 3, pick.rows - 1, 0])
    found = decoded.rows(rows)
    assert found.shape == (5, size, size, 3)
    assert np.array_equal(found[1], found[2])
    assert np.array_equal(kept.rows(rows), found)


def test_frames_of_the_recorded_size_are_untouched(pick: Dataset):
    rows = np.arange(pick.rows)
    assert np.array_equal(DecodedFrames(pick, 20).rows(rows), pick.read("pixels", slice(None)))


def test_what_fits_comfortably_belongs_in_memory(pick: Dataset, monkeypatch: pytest.MonkeyPatch):
    needed = 174 * 10 * 10 * 3
    for free, expected in ((2 * needed, True), (2 * needed - 2, False)):
        monkeypatch.setattr(frames, "available_memory", lambda free=free: free)
        assert belongs_in_memory(pick, 10, "auto") is expected
        assert belongs_in_memory(pick, 10, True)
        assert not belongs_in_memory(pick, 10, False)
    monkeypatch.setattr(frames, "available_memory", lambda: needed - 1)
    with pytest.raises(LewmError, match=r"the frames of robot/pick take 0.0 GB at 10 pixels, .* data.in_memory=auto"):
        belongs_in_memory(pick, 10, True)
