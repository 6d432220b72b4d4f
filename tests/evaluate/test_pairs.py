"""Pairs are drawn fairly."""

from pathlib import Path

import h5py
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


def noise_with(path: Path, lengths: list[int], **attributes: object) -> Dataset:
    rows = sum(lengths)
    states = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    return open_dataset(write_recording(path, lengths, dims=2, size=1, columns={"proprio": states}, **attributes), "x")


def assert_ways_out_lead_out(said: str, dataset: Dataset, episodes: np.ndarray, offset: int, count: int):
    """What is advised can be typed."""
    advised = [way for way in said.partition("; ")[2].split(", or ") if "--" in way and "record" not in way]
    for way in advised:
        words = way.split()
        typed = {word: int(words[place + 1]) for place, word in enumerate(words) if word.startswith("--")}
        protocol = EvalProtocol(offset=typed.get("--offsets", offset), pairs=typed.get("--episodes", count))
        assert len(choose_pairs(dataset, find_task("tworoom"), episodes, protocol)) == protocol.pairs
    assert advised or dataset.lengths[episodes].max() == 1


@given(data=st.data(), offset=st.integers(1, 12), seed=st.integers(0, 99))
def test_drawn_pairs_are_fair(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, offset: int, seed: int):
    lengths = data.draw(st.lists(st.integers(1, 25), min_size=1, max_size=6))
    dataset = noise_with(tmp_path_factory.mktemp("pairs") / "x.h5", lengths)
    episodes = np.array(sorted(data.draw(st.sets(st.integers(0, len(lengths) - 1), min_size=1))))
    starts = {int(e): max(0, lengths[e] - offset) for e in episodes}
    count = data.draw(st.integers(1, sum(starts.values()) + 1))
    task = find_task("tworoom")
    if count > sum(starts.values()):
        with pytest.raises(LewmError, match="pairs were asked for") as refused:
            choose_pairs(dataset, task, episodes, EvalProtocol(offset=offset, pairs=count, seed=seed))
        assert_ways_out_lead_out(str(refused.value), dataset, episodes, offset, count)
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


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (
            2,
            "hold 0 starts with a goal 25 steps later, for which an episode needs 26 rows (the longest has 12)",
        ),
        (2, "take nearer goals: --offsets 11, or record longer test episodes and name them with --dataset"),
        (50, "take nearer goals: --offsets 3, or record"),
        (900, "take nearer goals: --offsets 11 --episodes 6, or record"),
    ],
)
def test_episodes_shorter_than_the_way_to_a_goal(tmp_path: Path, count: int, said: str):
    dataset = noise_with(tmp_path / "x.h5", [12] * 6)
    with pytest.raises(LewmError) as refused:
        choose_pairs(dataset, find_task("tworoom"), np.arange(6), EvalProtocol(pairs=count))
    assert said in str(refused.value)


def test_states_that_were_never_written(tmp_path: Path):
    path = write_recording(tmp_path / "x.h5", [30], dims=2, size=1)
    with h5py.File(path, "r+") as file:
        file.create_dataset("proprio", (30, 2), "f4", chunks=(10, 2))[:10] = 1
    with pytest.raises(LewmError, match="20 rows of proprio were never written: rows 10 to 29"):
        choose_pairs(open_dataset(path, "x"), find_task("tworoom"), np.arange(1), EvalProtocol(pairs=1))


def test_colors_that_cannot_be_drawn_again(tmp_path: Path):
    dataset = noise_with(tmp_path / "x.h5", [40] * 6, varies="color")
    with pytest.raises(LewmError) as refused:
        choose_pairs(dataset, find_task("tworoom"), np.arange(6), EvalProtocol(pairs=2))
    assert "every episode of x has a color of its own" in str(refused.value)
    assert "record one: lewm collect tworoom --episodes 100 --seed 1" in str(refused.value)
