"""Frames that are packed beforehand are those of the recording."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from commands import PATIENCE
from lewm_cli.data import Dataset, DecodedFrames, find_packed, open_dataset, pack_frames
from lewm_cli.files import locked
from synthetic import write_recording

pytest_plugins = ("recordings",)


@pytest.fixture
def pick(robot: Path) -> Dataset:
    return open_dataset(robot / "robot" / "pick.h5", "robot/pick")


@pytest.mark.parametrize("size", [20, 16, 10, 24])
def test_packed_frames_are_those_of_the_recording(pick: Dataset, tmp_path: Path, size: int):
    told: list[int] = []
    assert find_packed(pick, size, tmp_path / "cache") is None
    packed = pack_frames(pick, size, tmp_path / "cache", told.append)
    assert sum(told) == pick.rows
    rows = np.array([5, 3, 3, pick.rows - 1, 0])
    frames = DecodedFrames(pick, size).rows(rows)
    assert frames.shape == (5, size, size, 3)
    assert np.array_equal(packed.rows(rows), frames)
    assert np.array_equal(frames[1], frames[2])
    found = find_packed(pick, size, tmp_path / "cache")
    assert found is not None
    assert np.array_equal(found.rows(rows), frames)


def test_packed_frames_of_recordings_with_the_same_actions_are_kept_apart(tmp_path: Path):
    """As after recording the same motions with another look."""
    dark = {"pixels": np.zeros((174, 20, 20, 3), np.uint8)}
    paths = write_recording(tmp_path / "one.h5"), write_recording(tmp_path / "two.h5", columns=dark)
    one, two = (open_dataset(path, path.stem) for path in paths)
    assert np.array_equal(one.actions, two.actions, equal_nan=True)
    assert one.identity.fingerprint != two.identity.fingerprint
    pack_frames(one, 16, tmp_path / "cache", lambda done: None)
    assert find_packed(two, 16, tmp_path / "cache") is None
    rows = np.arange(two.rows)
    assert pack_frames(two, 16, tmp_path / "cache", lambda done: None).rows(rows).max() == 0
    assert find_packed(one, 16, tmp_path / "cache").rows(rows).max() > 0
    # The name plays no part.
    assert find_packed(open_dataset(paths[1], "three"), 16, tmp_path / "cache") is not None


@pytest.mark.parametrize("finished", [True, False])
def test_packing_waits_for_another_packer(pick: Dataset, tmp_path: Path, finished: bool):
    cache = tmp_path / "cache"
    expected = pack_frames(pick, 16, tmp_path / "apart", lambda done: None)
    path = cache / expected.path.name
    told: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        with locked(path, busy=None):  # as another process would, for the lock is of the open file
            waiting = pool.submit(pack_frames, pick, 16, cache, told.append)
            time.sleep(0.2)
            assert not waiting.done()
            if finished:
                shutil.copy(expected.path, path)
        packed = waiting.result(timeout=PATIENCE)
    assert sum(told) == (0 if finished else pick.rows)
    rows = np.arange(pick.rows)
    assert np.array_equal(packed.rows(rows), expected.rows(rows))


def test_frames_of_the_recorded_size_are_untouched(pick: Dataset):
    rows = np.arange(pick.rows)
    assert np.array_equal(DecodedFrames(pick, 20).rows(rows), pick.read("pixels", slice(None)))
