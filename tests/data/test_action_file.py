"""Actions are read from the tables that people write, and columns that count are left out."""

import json
import re
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lewm_cli.data import follow_actions, read_actions, read_table
from lewm_cli.errors import LewmError

ACTIONS = np.round(np.random.default_rng(0).normal(size=(9, 3)), 3).astype(np.float32)
ROWS = range(len(ACTIONS))


def csv(delimiter: str = ",", header: str = "", first: list[object] | None = None, decimal: str = ".") -> str:
    lines = [header] if header else []
    for row in ROWS:
        cells = [f"{value:.3f}" for value in ACTIONS[row]]
        lines.append(delimiter.join([*([str(first[row])] if first else []), *cells]).replace(".", decimal))
    return "\n".join(lines) + "\n"


SECONDS = [row / 30 for row in ROWS]
NUMBERS = list(ROWS)
STATES = [[row, row / 2] for row in ROWS]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (csv(), None),
        (csv(header="x,y,gripper"), None),
        (csv(header="time,x,y,gripper", first=SECONDS), "x, y, gripper of a.csv; left out: time"),
        (csv(header="frame_index,x,y,t2", first=NUMBERS), "left out: frame_index"),
        (csv(header=",0,1,2", first=NUMBERS), "left out: a column without a name"),  # as pandas writes tables
        (csv(header="0,1,2"), None),
        (csv(header="episode,action_0,action_1,action_2", first=[0] * 9), "left out: episode"),
        (csv(header="reward,action.x,action.y,action.z", first=SECONDS), "left out: reward"),
        (csv(header="# time,x,y,gripper", first=SECONDS), "left out: time"),  # as numpy.savetxt writes names
        ("# recorded on Monday\n" + csv(), None),
        (csv(first=NUMBERS), "the first column of a.csv counts its rows"),
        (csv(";"), None),
        (csv(";", header="t;x;y;z", first=NUMBERS, decimal=","), "left out: t"),
        (csv("\t", header="x\ty\tz"), None),
        (csv(" "), None),
        (csv("  "), None),
        (csv().replace("\n", "\r\n"), None),
        (csv(header="x,y,z").replace("\n", ",\n"), None),
        (csv(header='"x","y","z"'), None),
        (csv().replace(",", ", "), None),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text(tmp_path: Path, text: str, said: str | None, encoding: str):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(encoding))
    lines: list[str] = []
    assert np.array_equal(read_actions(path, lines.append), ACTIONS)
    assert (said in lines[0]) if said else not lines


def test_cells_without_a_number_are_unknown(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1,\nnan,2\nNA,3\n4,null\n")
    found = read_actions(path, print)
    assert np.isnan(found).tolist() == [[False, True], [True, False], [True, False], [False, True]]


SIZES = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}


@pytest.mark.parametrize("first", [0.0, 1_700_000_000.0])
@pytest.mark.parametrize(
    ("name", "unit"),
    [
        *(("timestamp", unit) for unit in SIZES),
        *(("t", unit) for unit in SIZES),
        ("time_ms", "ms"),
        ("time [us]", "us"),
        ("header.stamp", "ns"),
        ("Time (s)", "s"),
        ("seconds", "s"),
        ("time_millis", "ms"),
        ("timestamp_microseconds", "us"),
    ],
)
def test_times(tmp_path: Path, name: str, unit: str, first: float):
    """Units are those of the name, or of the usual step."""
    path, times = tmp_path / "a.csv", first + np.arange(9) / 30
    values = times * SIZES[unit]
    cells = [f"{value:.3f}" if unit in ("s", "ms") else f"{value:.0f}" for value in values]
    path.write_text(csv(header=f"{name},x,y,z", first=list(cells)))
    found = read_table(path, lambda line: None)
    assert found.times is not None
    assert np.allclose(found.times, times, rtol=0, atol=6e-4)
    assert found.names == ("x", "y", "z")


def test_a_slow_clock_that_says_its_unit(tmp_path: Path):
    (tmp_path / "a.csv").write_text("time_s,x\n0,1\n5,2\n10,3\n")
    assert read_table(tmp_path / "a.csv", print).times.tolist() == [0, 5, 10]


def test_dates(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("date,x\n2024-05-01T12:00:00.5+00:00,1\n2024-05-01T12:00:01+00:00,2\n")
    times = read_table(path, print).times
    assert times is not None
    assert times.tolist() == [1714564800.5, 1714564801.0]
    path.write_text("date,x\nyesterday,1\n")
    with pytest.raises(LewmError, match="holds a time that is not read"):
        read_table(path, print)


def test_what_else_rows_tell(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text(
        "episode,frame_index,note,action_x,action_y,state_0,state_1\na,4,on,1,2,5,6\na,5,off,3,4,7,8\nb,9,on,5,6,9,10\n"
    )
    found = read_table(path, lambda line: None)
    assert found.names == ("action_x", "action_y")
    assert found.actions.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert found.frames.tolist() == [4, 5, 9]
    assert found.episodes.tolist() == ["a", "a", "b"]
    assert found.state.tolist() == [[5, 6], [7, 8], [9, 10]]
    assert found.times is None


@pytest.mark.parametrize(
    "write",
    [
        lambda path: parquet(
            path, action=ACTIONS.tolist(), timestamp=SECONDS, episode_index=[7] * 9, **{"observation.state": STATES}
        ),
        lambda path: np.savez(path.open("wb"), actions=ACTIONS, time=SECONDS, episode=np.full(9, 7), state=STATES),
        lambda path: path.write_text(
            json.dumps({"action": ACTIONS.tolist(), "t": SECONDS, "episode": [7] * 9, "proprio": STATES})
        ),
    ],
)
def test_arrays_tell_it_too(tmp_path: Path, write: Callable[[Path], None]):
    write(tmp_path / "a")
    found = read_table(tmp_path / "a", lambda line: None)
    assert np.array_equal(found.actions, ACTIONS)
    assert found.names == ()
    assert found.times.tolist() == SECONDS
    assert found.episodes.tolist() == ["7"] * 9
    assert np.array_equal(found.state, STATES)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text(csv(header="time,note,z,x,y", first=[f"{time},word" for time in SECONDS])),
        lambda path: parquet(path, x=ACTIONS[:, 1], y=ACTIONS[:, 2], time=SECONDS, note=["word"] * 9),
        lambda path: np.savez(path.open("wb"), x=ACTIONS[:, 1], y=ACTIONS[:, 2], time=SECONDS, note=np.zeros((3, 3))),
    ],
)
def test_chosen_columns(tmp_path: Path, write: Callable[[Path], None]):
    write(tmp_path / "a")
    found = read_table(tmp_path / "a", lambda line: None, ("y", "x"))
    assert found.names == ("y", "x")
    assert np.array_equal(found.actions, ACTIONS[:, [2, 1]])
    assert found.times.tolist() == SECONDS
    with pytest.raises(LewmError, match="has no column grip; there is "):
        read_table(tmp_path / "a", print, ("x", "grip"))


def test_names_that_cannot_be_chosen(tmp_path: Path):
    np.save(tmp_path / "a.npy", ACTIONS)
    with pytest.raises(LewmError, match="has no column x; its columns have no names"):
        read_table(tmp_path / "a.npy", print, ("x",))
    assert np.array_equal(read_table(tmp_path / "a.npy", print, ("2", "0")).actions, ACTIONS[:, [2, 0]])
    np.savez(tmp_path / "a.npz", action=ACTIONS, time=SECONDS)
    found = read_table(tmp_path / "a.npz", print, ("1",))
    assert np.array_equal(found.actions, ACTIONS[:, 1:2])
    assert found.times.tolist() == SECONDS
    with pytest.raises(LewmError, match="has no column 3; it has 3, from 0 on"):
        read_table(tmp_path / "a.npz", print, ("0", "3"))
    (tmp_path / "a.csv").write_text("x,y,x\n1,2,3\n")
    with pytest.raises(LewmError, match="has 2 columns named 'x'"):
        read_table(tmp_path / "a.csv", print)


def arrow() -> tuple[object, object]:
    return pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")


def parquet(path: Path, **columns: object) -> None:
    pyarrow, tables = arrow()
    tables.write_table(pyarrow.table(columns), path)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: np.save(path.open("wb"), ACTIONS),
        lambda path: np.save(path.open("wb"), ACTIONS[None].astype(np.float64)),
        lambda path: np.savez(path.open("wb"), ACTIONS),
        lambda path: np.savez_compressed(path.open("wb"), action=ACTIONS, reward=np.zeros(9)),
        lambda path: np.savez(path.open("wb"), actions=ACTIONS, action_mask=np.zeros(9)),
        lambda path: path.write_text(json.dumps(ACTIONS.tolist())),
        lambda path: path.write_text(json.dumps({"actions": ACTIONS.tolist()})),
        lambda path: parquet(path, action=ACTIONS.tolist(), timestamp=SECONDS),  # as LeRobot writes them
        lambda path: parquet(path, x=ACTIONS[:, 0], y=ACTIONS[:, 1], z=ACTIONS[:, 2], frame_index=NUMBERS),
    ],
)
def test_arrays(tmp_path: Path, write: Callable[[Path], None]):
    """Told apart by content, whatever the ending is."""
    path = tmp_path / "actions"
    write(path)
    assert np.array_equal(read_actions(path, lambda line: None), ACTIONS)


def test_one_dimension(tmp_path: Path):
    np.save(tmp_path / "a.npy", ACTIONS[:, 0])
    assert read_actions(tmp_path / "a.npy", print).shape == (9, 1)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: None, "there is no file"),
        (lambda path: path.write_text(""), "is an empty file"),
        (lambda path: path.write_text("x,y\n"), "holds no actions"),
        (lambda path: path.write_text("1,2\n3,oops\n"), "row 2 of PATH holds 'oops'"),
        (lambda path: path.write_text("x,y\n1,2\n3\n"), "row 2 of PATH, the names not counted, has 1 columns, and the"),
        (lambda path: path.write_text("time,frame\n1,2\n3,4\n"), "has no column of actions, only time, frame"),
        (lambda path: path.write_text('{"reward": [1, 2]}'), "has none named `action`"),
        (lambda path: path.write_text("<!DOCTYPE html><p>Sign in"), "is a web page"),
        (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" * 9), "is an image, and actions are read from a table"),
        (lambda path: path.write_bytes(b"x,y\n\xe4,1\n" * 200), "PATH"),
        (
            lambda path: np.savez(path.open("wb"), a=ACTIONS, b=ACTIONS),
            "holds a, b; name the array of actions `action`",
        ),
        (lambda path: np.save(path.open("wb"), np.array([{}], object), allow_pickle=True), "cannot be read as numbers"),
        (lambda path: np.save(path.open("wb"), np.array(["a"])), "is <U1 of shape (1,); numbers (rows, dimensions)"),
        (lambda path: np.save(path.open("wb"), np.zeros((2, 3, 4))), "of shape (2, 3, 4)"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'"), "cannot be read as numbers"),
        (lambda path: path.write_bytes(b"PAR1" + bytes(99)), "cannot be read as a table of numbers"),
        (lambda path: parquet(path, name=["a"] * 9), "row 1 of PATH, the names not counted, holds 'a' as name"),
        (
            lambda path: zipfile.ZipFile(path, "w").writestr("xl/workbook.xml", "<x/>"),
            "is a zip archive, and actions are read from a table; save the workbook as CSV",
        ),
        (lambda path: path.mkdir(), "PATH cannot be read"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(tmp_path: Path, write: Callable[[Path], object], said: str):
    path = tmp_path / "a.csv"
    write(path)
    with pytest.raises(LewmError) as refused:
        read_actions(path, print)
    assert said in str(refused.value).replace(str(path), "PATH")


@given(arrays(np.float32, st.tuples(st.integers(3, 9), st.integers(1, 4)), elements=st.floats(-9, 9, width=32)))
def test_what_numpy_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, actions: np.ndarray):
    path = tmp_path_factory.mktemp("written") / "a.csv"
    np.savetxt(path, actions, delimiter=",")
    counts = actions.shape[1] > 1 and np.array_equal(actions[:, 0] - actions[0, 0], np.arange(len(actions)))
    assert np.array_equal(read_actions(path, lambda line: None), actions[:, 1:] if counts else actions)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    path = tmp_path_factory.mktemp("any") / "a"
    path.write_bytes(content)
    with suppress(LewmError):
        assert read_actions(path, lambda line: None).ndim == 2


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n\nnan,4\n5,6",
        "1;2\n;4\n5;6\n",
        "1 2\n- 4\n5\t6\n",
        "[1, 2]\n[null, 4]\n[5, 6]\n",
        '{"action": [1, 2], "time": 1}\n{"action": [null, 4]}\n[5, 6]\n',
        "x,y\n1,2\n,4\n5,6\n",
        "time,action_x,action_y,note\n0.1,1,2,on\n0.2,,4,off\n0.3,5,6,\n",
    ],
)
def test_lines_are_read_as_they_come(text: str):
    lines = iter(text.splitlines(keepends=True))
    found = follow_actions(lines, Path("stdin"), lambda line: None)
    assert next(found).tolist() == [1, 2]
    left = list(lines)  # are not read yet
    assert len(left) == len(text.splitlines()) - (2 if text[0] in "xt" else 1)
    rest = list(follow_actions(text.splitlines(), Path("stdin"), lambda line: None))[1:]
    assert np.array_equal(rest, [[np.nan, 4], [5, 6]], equal_nan=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2\n3,oops\n", "line 2 of stdin holds '3,oops', and actions are one row of numbers a line"),
        ("time,frame\n1,2\n", "stdin has no column of actions, only time, frame"),
        ("time,action\n1\n", "line 2 of stdin holds '1', and"),
        ('{"reward": 1}', "line 1 of stdin does not hold rows of numbers, or has none named `action`"),
    ],
)
def test_lines_that_are_no_actions(text: str, said: str):
    with pytest.raises(LewmError, match=re.escape(said)):
        list(follow_actions(text.splitlines(), Path("stdin"), lambda line: None))
