"""Episodes are read from whatever says where they end, and refused where that is not clear."""

import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands import lewm_here
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.errors import LewmError
from synthetic import write_recording

NONE = {"ep_len": None, "ep_offset": None}
LENGTHS = (5, 4, 6)
ROWS = sum(LENGTHS)
ENDS = np.cumsum(LENGTHS)
LAST = np.isin(np.arange(ROWS), ENDS - 1)
FIRST = np.isin(np.arange(ROWS), ENDS - LENGTHS)
NUMBER = np.repeat([0, 1, 2], LENGTHS)


def opened(path: Path, lengths: tuple[int, ...] = LENGTHS, **columns: np.ndarray) -> Dataset:
    return open_dataset(write_recording(path, lengths, size=1, columns=NONE | columns), "x")


BOOKKEEPING = {
    "lengths alone": {"ep_len": np.array(LENGTHS)},
    "lengths as a column": {"ep_len": np.array(LENGTHS)[:, None]},
    "lengths in a row": {"ep_len": np.array([LENGTHS])},
    "lengths as floats": {"ep_len": np.array(LENGTHS, np.float32)},
    "offsets alone": {"ep_offset": ENDS - LENGTHS},
    "ends": {"episode_ends": ENDS},
    "ends as in Zarr": {"meta/episode_ends": ENDS},
    "numbers": {"ep_idx": NUMBER},
    "numbers as floats": {"episode_index": NUMBER.astype(np.float32)},
    "numbers in a column": {"episode_idx": NUMBER[:, None]},
    "numbers in another order": {"ep_idx": np.repeat([7, 9, 2], LENGTHS)},
    "numbers, and a flag in the middle": {"ep_idx": NUMBER, "terminated": np.arange(ROWS) == 2},
    "numbers and ends that agree": {"ep_idx": NUMBER, "episode_ends": ENDS},
    "done": {"done": LAST},
    "dones as floats": {"dones": LAST.astype(np.float64)},
    "terminals": {"terminals": LAST},
    "terminals and timeouts": {"terminals": LAST & (np.arange(ROWS) > 9), "timeouts": LAST & (np.arange(ROWS) < 9)},
    "terminated, never, and truncated": {"terminated": LAST & False, "truncated": LAST},
    "last": {"is_last": LAST},
    "first": {"is_first": FIRST},
    "first and last": {"is_first": FIRST, "is_last": LAST},
    "done, and terminated within": {"done": LAST, "terminals": np.arange(ROWS) == 2},
    "first, and terminals of some": {"is_first": FIRST, "terminals": np.arange(ROWS) == 4},
    "last flag missing": {"done": LAST & (np.arange(ROWS) < 9)},
}


@pytest.mark.parametrize("kind", BOOKKEEPING)
def test_episodes_are_read_from_what_says_where_they_end(tmp_path: Path, kind: str):
    dataset = opened(tmp_path / "x.h5", **BOOKKEEPING[kind])
    assert dataset.lengths.tolist() == list(LENGTHS)
    assert dataset.offsets.tolist() == [0, 5, 9]
    (note,) = dataset.notes
    assert note.startswith("3 episodes read from ")
    assert ("taken as one more: the last 6 rows" in note) is (kind == "last flag missing")
    assert (
        dataset.identity.fingerprint
        == opened(tmp_path / "y.h5", ep_len=np.array(LENGTHS), ep_offset=ENDS - LENGTHS).identity.fingerprint
    )


UNCLEAR = {
    "nothing": ({}, "no other column says where episodes end"),
    "a column that returns": ({"ep_idx": np.repeat([0, 1, 0], LENGTHS)}, "ep_idx returns to 0 in row 9"),
    "a count of episodes with parts": ({"ep_idx": NUMBER + 0.5}, "other values than whole numbers"),
    "numbers that are none": ({"ep_idx": np.where(LAST, np.nan, NUMBER)}, "other values than whole numbers"),
    "lengths of other rows": ({"ep_len": np.array([5, 4, 7])}, "ep_len adds up to 16 rows, and the file has 15 frames"),
    "negative lengths": ({"ep_len": np.array([5, -4, 14])}, "do not describe episodes that lie apart"),
    "offsets from one": ({"ep_offset": np.array([1, 6, 10])}, "begins at 1, not at 0"),
    "offsets that fall": ({"ep_offset": np.array([0, 9, 5])}, "do not describe episodes that lie apart"),
    "ends before the end": ({"episode_ends": np.array([5, 9])}, "ends at row 9, and the file has 15 frames"),
    "no ends": ({"episode_ends": np.array([], int)}, "holds no episodes"),
    "too many": ({"ep_len": np.ones(99, int)}, "has 99 numbers, and the file 15 rows"),
    "a contradiction": ({"ep_idx": NUMBER, "ep_len": np.array([4, 5, 6])}, "ep_len and ep_idx do not agree"),
    "two numberings": ({"ep_idx": NUMBER, "episode_index": NUMBER // 2}, "ep_idx and episode_index do not agree"),
    "two flags": ({"done": LAST, "is_last": FIRST}, "done and is_last do not agree"),
    "first against last": ({"is_first": FIRST, "done": np.roll(LAST, 1)}, "is_first and done do not agree"),
    "a flag that is never set": ({"done": LAST & False}, "done is never set"),
    "a first that is never set": ({"is_first": LAST & False}, "is_first is not set in the first row"),
    "a first that begins late": ({"is_first": FIRST & (NUMBER > 0)}, "is_first is not set in the first row"),
    "a last that is a first": ({"done": FIRST}, "done is set in the first row and not in the last"),
    "a flag with other values": ({"done": np.arange(ROWS)}, "other values than 0 and 1"),
    "a flag of other rows": ({"done": LAST[:-1]}, "no other column says where episodes end"),
    "text": ({"ep_len": np.array([b"5", b"4", b"6"])}, "one whole number each is needed"),
}


@pytest.mark.parametrize("kind", UNCLEAR)
def test_unclear_episodes_are_refused_in_a_sentence(tmp_path: Path, kind: str):
    columns, said = UNCLEAR[kind]
    path = write_recording(tmp_path / "x.h5", LENGTHS, size=1, columns=NONE | columns)
    assert said in lewm_here(tmp_path, "show", path).sentence()


@settings(max_examples=60)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.data())
def test_every_way_to_say_it_says_the_same(lengths: list[int], data: st.DataObject):
    ends, rows = np.cumsum(lengths), sum(lengths)
    last = np.isin(np.arange(rows), ends - 1)
    cut_off = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))
    ways = (
        {"ep_len": np.array(lengths)},
        {"ep_offset": ends - lengths},
        {"episode_ends": ends},
        {"ep_idx": np.repeat(np.arange(len(lengths)), lengths)},
        {"done": last},
        {"terminals": last & ~cut_off, "timeouts": last & cut_off},
        {"is_first": np.isin(np.arange(rows), ends - lengths)},
    )
    chosen = data.draw(st.sampled_from(ways))
    with tempfile.TemporaryDirectory() as folder:
        dataset = opened(Path(folder, "x.h5"), tuple(lengths), **chosen)
    assert dataset.lengths.tolist() == lengths
    assert dataset.offsets.tolist() == (ends - lengths).tolist()


def test_lengths_and_offsets_decide_whatever_else_a_file_holds(tmp_path: Path):
    path = write_recording(tmp_path / "x.h5", LENGTHS, columns={"ep_idx": NUMBER * 0, "done": ~LAST})
    dataset = open_dataset(path, "x")
    assert dataset.lengths.tolist() == list(LENGTHS)
    assert dataset.notes == ()


def test_lines_of_the_guide_write_what_decides(tmp_path: Path):
    path = write_recording(tmp_path / "x.h5", LENGTHS, columns={"ep_offset": None, "ep_idx": NUMBER // 2})
    with pytest.raises(LewmError, match="#episodes"):
        open_dataset(path, "x")
    with h5py.File(path, "a") as file:
        file["ep_offset"] = ENDS - LENGTHS
    assert open_dataset(path, "x").episodes == 3
