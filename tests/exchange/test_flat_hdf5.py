"""Flat HDF5 files with any names are read by naming them, and episodes are found by whatever tells them apart."""

import tempfile
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from columns import frames_of, opened
from damage import damaged_copy, read_or_refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commands import lewm_here
from lewm_cli.data import open_dataset
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.exchange.source import Source

LENGTHS = (5, 4, 6)
ROWS = sum(LENGTHS)
ENDS = np.cumsum(LENGTHS)
LAST = np.isin(np.arange(ROWS), ENDS - 1)
FRAMES = np.zeros((ROWS, 10, 12, 3), np.uint8)
FRAMES[:] = np.arange(ROWS)[:, None, None, None] * 16
ACTIONS = np.random.default_rng(1).normal(size=(ROWS, 3)).astype(np.float32)
OWN = {
    "obs/image": FRAMES,
    "act": ACTIONS,
    "state": np.arange(2 * ROWS).reshape(ROWS, 2),
    "ep_id": np.repeat([3, 1, 8], LENGTHS),
}
NAMED = {"map": {"pixels": "obs/image", "action": "act", "proprio": "state"}, "episodes": "ep_id"}


def written(path: Path, columns: dict[str, object], **attributes: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
        file.attrs.update(attributes)
    return path


def assert_rows(source: Source) -> None:
    """The three episodes with their frames and actions."""
    assert [one.frames for one in source.episodes] == list(LENGTHS)
    for number, (length, end) in enumerate(zip(LENGTHS, ENDS, strict=True)):
        episode = source.read(number)
        assert np.array_equal(frames_of(episode), FRAMES[end - length : end])
        assert np.array_equal(episode.actions, ACTIONS[end - length : end])


def test_named_columns_are_read(tmp_path: Path):
    source = opened(written(tmp_path / "own.h5", OWN, fps=12), **NAMED)
    assert (source.kind, source.camera, source.fps) == ("HDF5 with flat columns", "obs/image", 12)
    assert [one.name for one in source.episodes] == ["rows 0 to 4", "rows 5 to 8", "rows 9 to 14"]
    assert "3 episodes read from ep_id" in source.notes
    assert_rows(source)
    episode = source.read(1)
    assert episode.columns["proprio"].tolist() == [[10, 11], [12, 13], [14, 15], [16, 17]]
    assert episode.columns["ep_id"].tolist() == [1] * 4


def test_columns_side_by_side_are_one(tmp_path: Path):
    path = written(tmp_path / "own.h5", OWN | {"grip": np.zeros(ROWS)})
    source = opened(
        path, map={"action": "act,grip", "proprio": "state,grip"}, episodes="ep_id", action=("grip", "act.1")
    )
    assert source.action_names == ("grip", "act.1")
    assert np.array_equal(source.actions(0)[:, 1], ACTIONS[:5, 1])
    assert source.read(0).columns["proprio"].shape == (5, 3)


SAID = {
    "done": LAST,
    "flags of the first row": np.isin(np.arange(ROWS), ENDS - LENGTHS),
    "flags as a column": LAST[:, None].astype(np.float32),
    "numbers": np.repeat([3, 1, 8], LENGTHS),
    "names": np.repeat([b"a", b"c", b"b"], LENGTHS),
    "lengths": np.array(LENGTHS),
    "ends": ENDS,
    "ends with the first row": np.append(0, ENDS),
    "first rows": ENDS - LENGTHS,
}


@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize("path", ["when", "log/episodes"])
def test_any_column_tells_episodes_apart(tmp_path: Path, kind: str, path: str):
    columns = {"pixels": FRAMES, "action": ACTIONS, path: SAID[kind]}
    assert_rows(opened(written(tmp_path / "own.h5", columns), episodes=path))


def test_flags_of_two_columns_are_taken_together(tmp_path: Path):
    columns = {"log/ended": LAST & (np.arange(ROWS) < 9), "log/cut": LAST & (np.arange(ROWS) > 9)}
    path = written(tmp_path / "own.h5", {"pixels": FRAMES, "action": ACTIONS, **columns})
    assert_rows(opened(path, episodes="log/ended,log/cut"))


LASTING = np.isin(np.arange(ROWS), [*(ENDS - 1), *(ENDS - 2)])


@pytest.mark.parametrize(
    ("flags", "actions", "said"),
    [
        (np.arange(ROWS) >= ROWS - 3, ACTIONS, "when stays set over the last 3 rows, and a flag is set in the last"),
        (np.ones(ROWS, bool), ACTIONS, f"when stays set over the last {ROWS} rows, and a flag is set"),
        (np.zeros(ROWS, bool), ACTIONS, "when is never set, and a flag is set in the last row of every episode alone"),
        (LASTING, ACTIONS[: -len(LENGTHS)], f"when says that {len(LENGTHS)} episodes had a single row, first in row"),
    ],
)
def test_flags_that_stay_set_are_refused_for_that(tmp_path: Path, flags: np.ndarray, actions: np.ndarray, said: str):
    path = written(tmp_path / "own.h5", {"pixels": FRAMES, "action": actions, "when": flags})
    with pytest.raises(LewmError, match=said) as refused:
        opened(path, episodes="when")
    assert "write ep_len and ep_offset" in str(refused.value)


def test_file_that_is_one_episode_is_said_to_be(tmp_path: Path):
    path = written(tmp_path / "own.h5", {"pixels": FRAMES, "action": ACTIONS[:-1]})
    with pytest.raises(LewmError, match=r"no other column says where episodes end.*--episodes COLUMN"):
        opened(path)
    source = opened(path, episodes="file")
    assert [one.name for one in source.episodes] == [f"rows 0 to {ROWS - 1}"]
    assert np.isnan(source.actions(0)[-1]).all()


@st.composite
def told(draw) -> tuple[list[int], np.ndarray]:
    """Lengths of episodes, and a column that tells them apart."""
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    rows, ends = sum(lengths), list(np.cumsum(lengths))
    ids = draw(st.permutations(range(1, len(lengths) + 1)))
    ways = {
        "last": [row + 1 in ends for row in range(rows)],
        "ids": [one for one, length in zip(ids, lengths, strict=True) for _ in range(length)],
        "names": [b"run%d" % one for one, length in zip(ids, lengths, strict=True) for _ in range(length)],
    }
    # A table of as many numbers as rows is a column for rows.
    if len(lengths) < rows - 1:
        ways |= {
            "lengths": lengths,
            "ends": ends,
            "starts": [end - one for end, one in zip(ends, lengths, strict=True)],
        }
    return lengths, np.array(ways[draw(st.sampled_from(sorted(ways)))])


def stays_up(flags: np.ndarray) -> bool:
    return bool(flags[-1] and (all(flags) or (flags.sum() > 1 and (flags[:-1] <= flags[1:]).all())))


@given(told(), st.booleans())
@settings(max_examples=30)
def test_episodes_are_those_of_a_plain_count(case: tuple[list[int], np.ndarray], fewer: bool):
    lengths, column = case
    rows = sum(lengths)
    taken = [row for row in range(rows) if not fewer or row + 1 not in np.cumsum(lengths)]
    if not taken or (len(column) in (rows, len(taken)) and column.dtype == bool and stays_up(column)):
        return  # no action at all; or flags that stay up, which are ids of one episode or two as well, and are refused
    if len(column) != rows and len(column) == len(taken):
        return
    with tempfile.TemporaryDirectory() as folder:
        columns = {
            "frames": np.arange(rows * 192).reshape(rows, 8, 8, 3).astype(np.uint8),
            "act": np.array(taken)[:, None],
        }
        path = written(Path(folder, "x.h5"), columns | {"log/which": column})
        source = opened(path, map={"action": "act"}, episodes="log/which")
        assert [one.frames for one in source.episodes] == lengths
        start = 0
        for number, length in enumerate(lengths):
            expected = [row if row in taken else np.nan for row in range(start, start + length)]
            episode = source.read(number)
            assert np.array_equal(episode.actions[:, 0], expected, equal_nan=True)
            assert np.array_equal(frames_of(episode), columns["frames"][start : start + length])
            start += length


def test_d4rl_with_frames_is_read(tmp_path: Path):
    columns = {"observations": FRAMES, "next_observations": FRAMES, "actions": ACTIONS, "rewards": np.arange(ROWS)}
    columns |= {"terminals": LAST & (np.arange(ROWS) < 9), "timeouts": LAST & (np.arange(ROWS) > 9)}
    source = opened(written(tmp_path / "d4rl.hdf5", columns | {"infos/qpos": ACTIONS.astype(np.float64)}))
    assert (source.kind, source.camera) == ("D4RL", "observations")
    assert_rows(source)
    assert source.read(0).columns.keys() == {"rewards", "terminals", "timeouts", "infos/qpos"}


def test_frames_that_a_recording_cannot_have_are_imported(tmp_path: Path):
    path = written(tmp_path / "own.h5", {"pixels": FRAMES, "action": ACTIONS, "ep_len": LENGTHS})
    said = lewm_here(tmp_path / "home", "show", path).sentence()
    assert said.endswith(f"lewm import {path}")
    assert lewm_here(tmp_path / "home", "import", path, "--workers", 1).code == 0
    dataset = open_dataset(tmp_path / "home" / "own.h5", "own")
    assert dataset.lengths.tolist() == list(LENGTHS)
    assert np.array_equal(dataset.read("pixels", slice(None)), FRAMES[:, :, 1:11])


@pytest.mark.parametrize(
    "frames",
    [
        np.random.default_rng(0).random((ROWS, 3, 10, 12), np.float32),
        np.random.default_rng(0).integers(0, 255, (ROWS, 10, 12), np.uint8),
        np.random.default_rng(0).integers(0, 255, (ROWS, 10, 12, 4), np.uint8),
    ],
)
def test_other_frames_come_as_they_are_stored(tmp_path: Path, frames: np.ndarray):
    path = written(tmp_path / "own.h5", OWN | {"obs/image": frames})
    assert np.array_equal(frames_of(opened(path, **NAMED).read(2)), frames[9:])


def test_image_files_are_decoded(tmp_path: Path):
    files = [cv2.imencode(".png", frame[..., ::-1])[1].tobytes() for frame in FRAMES]
    rows = h5py.vlen_dtype(np.uint8)
    stored = np.array([np.frombuffer(one, np.uint8) for one in files] + [None], object)[:-1].astype(rows)
    assert_rows(opened(written(tmp_path / "own.h5", OWN | {"obs/image": stored}), **NAMED))
    padded = np.stack([np.pad(one, (0, max(map(len, stored)) - len(one))) for one in stored])
    assert_rows(opened(written(tmp_path / "own.h5", OWN | {"obs/image": padded}), **NAMED))


def test_folder_is_all_of_its_files(tmp_path: Path):
    for number, (length, end) in enumerate(zip(LENGTHS, ENDS, strict=True)):
        rows = slice(end - length, end)
        columns = {"rgb": FRAMES[rows], "action": ACTIONS[rows], "extra": ACTIONS[rows]}
        written(tmp_path / f"take{number + 8}.h5", columns if number else columns | {"more": ACTIONS[rows]})
    source = opened(tmp_path)
    assert [one.name for one in source.episodes] == ["take8.h5", "take9.h5", "take10.h5"]
    assert_rows(source)
    assert source.read(0).columns.keys() == {"extra"}
    written(tmp_path / "take11.h5", {"rgb": FRAMES[:, :8], "action": ACTIONS})
    with pytest.raises(LewmError, match=r"take11.h5 has frames of shape \(8, 12, 3\), and .*take8.h5 of \(10, 12, 3\)"):
        opened(tmp_path)
    written(tmp_path / "take11.h5", {"rgb": FRAMES, "action": ACTIONS[:, :2]})
    with pytest.raises(LewmError, match=r"take11.h5 has actions of 2 dimensions, and .*take8.h5 of 3"):
        opened(tmp_path)
    written(tmp_path / "take11.h5", {"rgb": FRAMES})
    with pytest.raises(LewmError, match=r"take11.h5 has no action, and other files .* have"):
        opened(tmp_path)


WRONG = {
    "an unknown name": (OWN, {"map": {"pixels": "obs/img"}}, UsageError, "no 'obs/img'; it holds obs/image, .*ep_id"),
    "no frames": (OWN | {"obs/image": ACTIONS}, {"map": {"action": "act"}}, UsageError, "none of them color frames"),
    "no action": (
        OWN,
        {"episodes": "ep_id"},
        UsageError,
        "neither action nor actions, and holds .*--map action=COLUMN",
    ),
    "two cameras": (
        OWN | {"wrist": FRAMES},
        {"map": {"action": "act"}},
        UsageError,
        r"wrist \(12 x 10\), obs/image \(12 x 10\)",
    ),
    "no such column": (OWN, NAMED | {"episodes": "ep"}, UsageError, "--episodes ep: .* has no 'ep', and holds"),
    "numbers that return": (OWN | {"ep_id": np.repeat([1, 2, 1], LENGTHS)}, NAMED, LewmError, "returns to 1 in row 9"),
    "lengths of other rows": (OWN | {"ep_id": np.array([5, 4, 7])}, NAMED, LewmError, "no lengths, ends or first rows"),
    "an action too many": (OWN | {"act": ACTIONS[:-1]}, NAMED, LewmError, "15 frames and 14 rows of actions"),
    "two tables of actions": (
        OWN | {"grip": ACTIONS[:-1]},
        NAMED | {"map": {"pixels": "obs/image", "action": "act,grip"}},
        LewmError,
        "act and grip have different numbers of rows",
    ),
    "other rows": (OWN | {"state": ACTIONS[:3]}, NAMED, LewmError, "state cannot be proprio"),
    "words": (OWN | {"act": np.array([b"go"] * ROWS)}, NAMED, LewmError, "floats .N, dimensions. are needed"),
    "no rows": (OWN | {"act": ACTIONS[:0]}, NAMED, LewmError, "act is empty"),
    "nothing": ({}, {}, UsageError, "holds nothing, none of them color frames"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_read_is_said_with_what_there_is(tmp_path: Path, kind: str):
    columns, asked, error, said = WRONG[kind]
    with pytest.raises(error, match=said):
        opened(written(tmp_path / "own.h5", columns), **asked)


def linked(file: h5py.File, other: Path) -> None:
    file["rgb"] = h5py.ExternalLink(str(other), "rgb")


def virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout(FRAMES.shape, FRAMES.dtype)
    layout[:] = h5py.VirtualSource(str(other), "rgb", FRAMES.shape)
    file.create_virtual_dataset("rgb", layout)


def raw(file: h5py.File, other: Path) -> None:
    file.create_dataset("rgb", FRAMES.shape, FRAMES.dtype, external=[(str(other), 0, FRAMES.nbytes)])


def linked_group(file: h5py.File, other: Path) -> None:
    file["data"] = h5py.ExternalLink(str(other), "/")


@pytest.mark.parametrize("put", [linked, virtual, raw, linked_group])
def test_values_that_lie_in_other_files_are_refused_for_the_digest_is_of_the_source_alone(tmp_path: Path, put):
    other = written(tmp_path / "other.h5", {"rgb": FRAMES, "demo_0/obs/rgb": FRAMES, "demo_0/actions": ACTIONS})
    path = written(tmp_path / "own.h5", {"action": ACTIONS, "ep_id": np.repeat([1, 2, 3], LENGTHS)})
    with h5py.File(path, "a") as file:
        put(file, other)
    with pytest.raises(LewmError, match=r"own.h5: (rgb|data) lies in another file, and only the source itself is read"):
        opened(path, episodes="ep_id")


def test_virtual_columns_of_the_file_itself_are_read(tmp_path: Path):
    path = written(tmp_path / "own.h5", {"first": FRAMES, "action": ACTIONS, "ep_id": np.repeat([1, 2, 3], LENGTHS)})
    layout = h5py.VirtualLayout(FRAMES.shape, FRAMES.dtype)
    with h5py.File(path, "a") as file:
        layout[:] = h5py.VirtualSource(file["first"])
        file.create_virtual_dataset("pixels", layout)
    source = opened(path, episodes="ep_id")
    assert np.array_equal(frames_of(source.read(1)), FRAMES[LENGTHS[0] : LENGTHS[0] + LENGTHS[1]])


def test_rows_that_were_never_written_are_said_and_the_others_are_whole(tmp_path: Path):
    path = written(tmp_path / "own.h5", {name: values for name, values in OWN.items() if name != "obs/image"})
    with h5py.File(path, "a") as file:
        stored = file.create_dataset("obs/image", FRAMES.shape, "u1", chunks=(1, *FRAMES.shape[1:]))
        stored[:7] = FRAMES[:7]
        stored[9:] = FRAMES[9:]
    source = opened(path, **NAMED)
    assert np.array_equal(frames_of(source.read(0)), FRAMES[:5])
    assert np.array_equal(frames_of(source.read(2)), FRAMES[9:])
    with pytest.raises(LewmError, match=r"rows 7 to 8 of obs/image in .*own.h5 were never written"):
        source.actions(1)


def test_nan_actions_in_the_middle_and_flags_within_ids_stay(tmp_path: Path):
    actions = ACTIONS.copy()
    actions[2] = np.nan
    columns = OWN | {"act": actions, "done": np.arange(ROWS) == 2}
    source = opened(written(tmp_path / "own.h5", columns), **NAMED)
    assert np.array_equal(source.actions(0), actions[:5], equal_nan=True)


@given(st.data())
@settings(max_examples=5, suppress_health_check=list(HealthCheck))
def test_cut_and_flipped_bytes_are_read_or_refused_in_a_sentence(tmp_path: Path, data: st.DataObject):
    read_or_refused(damaged_copy(written(tmp_path / "own.h5", OWN), tmp_path, data), **NAMED)


@pytest.mark.soak
@given(st.data())
@settings(max_examples=1_000, suppress_health_check=list(HealthCheck))
def test_many_cut_and_flipped_bytes_are_read_or_refused(tmp_path: Path, data: st.DataObject):
    read_or_refused(damaged_copy(written(tmp_path / "own.h5", OWN), tmp_path, data), **NAMED)
