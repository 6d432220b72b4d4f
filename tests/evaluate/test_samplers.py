"""Samplers draw the rows that the authors' code draws."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from line import by_columns, recording

from lewm_cli.config import EvalProtocol
from lewm_cli.data import open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.evaluate import choose_pairs
from lewm_cli.tasks import TWOROOM
from synthetic import write_recording


@given(data=st.data(), offset=st.integers(1, 12), seed=st.integers(0, 99), original=st.booleans())
def test_row_samplers_draw_what_the_authors_code_draws(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, offset: int, seed: int, original: bool
):
    lengths = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=6))
    dataset = recording(tmp_path_factory.mktemp("rows") / "x.h5", lengths)
    available = sum(max(0, length - offset) for length in lengths) - original
    count = data.draw(st.integers(1, max(1, available) + 1))
    sampler = "rows-original" if original else "rows"
    protocol = EvalProtocol(pairs=count, offset=offset, seed=seed, sampler=sampler)
    every = np.arange(dataset.episodes)
    if count > available:
        with pytest.raises(LewmError, match=f"hold {max(0, available)} starts"):
            choose_pairs(dataset, TWOROOM, every, protocol)
        return
    pairs = choose_pairs(dataset, TWOROOM, every, protocol)
    assert [pair.start_row for pair in pairs] == by_columns(dataset, offset, count, seed, original=original)
    owners = dataset.read("ep_idx", slice(None))
    for pair in pairs:
        assert pair.goal_row == pair.start_row + offset
        assert owners[pair.start_row] == owners[pair.goal_row] == pair.episode
        assert (pair.start[0], pair.goal[0]) == (pair.start_row, pair.goal_row)


def test_the_fix_changed_the_draw(tmp_path: Path):
    dataset = recording(tmp_path / "x.h5", [40, 60])
    drawn = [
        [
            pair.start_row
            for pair in choose_pairs(dataset, TWOROOM, np.arange(2), EvalProtocol(pairs=8, sampler=sampler))
        ]
        for sampler in ("rows-original", "rows")
    ]
    assert drawn[0] != drawn[1]


def test_rows_are_drawn_from_the_episodes_that_may_be_used(tmp_path: Path):
    dataset = recording(tmp_path / "x.h5", [40, 60, 50])
    pairs = choose_pairs(dataset, TWOROOM, np.array([0, 2]), EvalProtocol(pairs=40, sampler="rows"))
    assert sorted(pair.start_row for pair in pairs) == [*range(15), *range(100, 125)]  # all there are


@pytest.mark.parametrize("columns", [{}, {"proprio": np.zeros((80, 3), np.float32)}])
def test_recordings_without_states_are_refused(tmp_path: Path, columns: dict[str, np.ndarray]):
    dataset = open_dataset(write_recording(tmp_path / "x.h5", [40, 40], dims=2, size=1, columns=columns), "mine")
    with pytest.raises(LewmError, match=r"^mine has (no column|3 numbers in column) 'proprio'"):
        choose_pairs(dataset, TWOROOM, np.arange(2), EvalProtocol(pairs=1))
