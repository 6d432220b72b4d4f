"""Pairs are drawn fairly."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lewm_cli.config import EvalProtocol
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.evaluate import choose_pairs
from lewm_cli.tasks import find_task
from synthetic import write_recording


def noise_with(path: Path, lengths: list[int]) -> Dataset:
    rows = sum(lengths)
    states = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    return open_dataset(write_recording(path, lengths, dims=2, size=1, columns={"proprio": states}), "x")


@given(data=st.data(), offset=st.integers(1, 12), seed=st.integers(0, 99))
def test_drawn_pairs_are_fair(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, offset: int, seed: int):
    lengths = data.draw(st.lists(st.integers(1, 25), min_size=1, max_size=6))
    dataset = noise_with(tmp_path_factory.mktemp("pairs") / "x.h5", lengths)
    episodes = np.array(sorted(data.draw(st.sets(st.integers(0, len(lengths) - 1), min_size=1))))
    starts = {int(e): max(0, lengths[e] - offset) for e in episodes}
    count = data.draw(st.integers(1, sum(starts.values()) + 1))
    task = find_task("tworoom")
    if count > sum(starts.values()):
        with pytest.raises(LewmError, match="pairs were asked for"):
            choose_pairs(dataset, task, episodes, EvalProtocol(offset=offset, pairs=count, seed=seed))
        return
    pairs = choose_pairs(dataset, task, episodes, EvalProtocol(offset=offset, pairs=count, seed=seed))
    assert len({(pair.start_row, pair.goal_row) for pair in pairs}) == len(pairs) == count
    uses = dict.fromkeys(starts, 0)
    for pair in pairs:
        first = int(dataset.offsets[pair.episode])
        assert pair.goal_row == pair.start_row + offset
        assert first <= pair.start_row
        assert pair.goal_row < first + lengths[pair.episode]
        assert pair.start.tolist() == [2 * pair.start_row, 2 * pair.start_row + 1]
        assert pair.goal.tolist() == [2 * pair.goal_row, 2 * pair.goal_row + 1]
        uses[pair.episode] += 1
    # Round by round: an episode has fewer pairs than another only where it has no more to give.
    for episode, used in uses.items():
        assert used >= min(starts[episode], max(uses.values()) - 1)
    again = choose_pairs(dataset, task, episodes, EvalProtocol(offset=offset, pairs=count, seed=seed))
    assert [pair.start_row for pair in again] == [pair.start_row for pair in pairs]


def test_every_start_can_be_drawn(tmp_path: Path):
    dataset, task = noise_with(tmp_path / "x.h5", [8]), find_task("tworoom")
    drawn = {
        choose_pairs(dataset, task, np.array([0]), EvalProtocol(offset=3, pairs=1, seed=seed))[0].start_row
        for seed in range(100)
    }
    assert drawn == set(range(5))  # up to the last row that has a goal
