"""Actions are read from the tables that people write, and columns that count are left out."""

import json
import re
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lewm_cli.data import follow_actions, read_actions
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
        (lambda path: parquet(path, name=["a"] * 9), "PATH is object of shape (9, 1); numbers (rows, dimensions)"),
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


def test_parquet_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(99))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LewmError, match="pip install pyarrow"):
        read_actions(tmp_path / "a.parquet", print)


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
