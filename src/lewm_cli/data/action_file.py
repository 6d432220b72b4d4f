"""Actions from a table that somebody wrote beside a video: CSV, NumPy, JSON or Parquet, told apart by content."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lewm_cli.errors import LewmError, MissingError
from lewm_cli.file_kind import FileKind, look
from lewm_cli.system_errors import explain
from lewm_cli.text_file import read_text

Say = Callable[[str], None]
Table = npt.NDArray[np.float32]

COUNTING = re.compile(
    r"(time|times|timestamp|time_?stamps?|stamp|t|s|ms|ns|sec|secs|seconds|nsecs?|date|index|idx|i|row|frame|step|"
    r"episode|ep|task|unnamed: 0|)(_?(s|ms|us|ns|sec|secs|seconds|index|idx|id|number|nr|no|stamp))?",
    re.IGNORECASE,
)
"""Names of columns that count rows or time, and are no actions."""

UNKNOWN = {"", "nan", "na", "n/a", "null", "none", "-"}
"""Words for an action that is not known."""

FORMATS = "a CSV, npz, npy or Parquet file with one row of numbers per frame"


def read_actions(path: Path, say: Say) -> Table:
    """Read actions (K, A); columns that count rows or time are left out, and named to `say`.

    Raises:
        LewmError: there is no such file, it is of another kind, or it does not hold numbers in rows.
    """
    try:
        kind = look(path)
        match kind:
            case FileKind.NUMPY:
                table = _from_numpy(path)
            case FileKind.PARQUET:
                table = _from_parquet(path, say)
            case FileKind.TEXT | FileKind.JSON | FileKind.UNKNOWN:
                table = _from_text(path, read_text(path, "a table of actions"), say)
            case _:
                workbook = "save the workbook as CSV, or unpack the table"
                advice = workbook if kind is FileKind.ZIP else kind.advice or f"give {FORMATS}"
                raise LewmError(f"{path} is {kind.value}, and actions are read from a table; {advice}")
    except FileNotFoundError as error:
        raise MissingError(f"there is no file {path}; --actions takes {FORMATS}") from error
    except OSError as error:
        raise explain(error, path, "read") from error
    if table.size == 0:
        raise LewmError(f"{path} holds no actions; give {FORMATS}")
    return table


def follow_actions(lines: Iterable[str], source: Path, say: Say) -> Iterator[Table]:
    """Yields the action (A,) of every line as it comes: a list as JSON, or CSV with or without a line of names first.

    Raises:
        LewmError: a line holds something else than numbers, or is no text.
    """
    columns: list[int] | None = None
    try:
        for number, line in enumerate(map(str.strip, lines), start=1):
            if line.startswith(("[", "{")):
                yield _from_json(f"line {number} of {source}", line).reshape(-1)
                continue
            cells = _cells([line], next((mark for mark in (";", "\t", ",") if mark in line), " "))[0] if line else []
            if number == 1 and cells and _are_names([cells]):
                columns = _action_columns(cells, source, say)
                continue
            chosen = range(len(cells)) if columns is None or not cells else columns
            values = [_number(cells[index]) if index < len(cells) else None for index in chosen]
            if None in values:
                raise LewmError(f"line {number} of {source} holds {line!r}, and actions are one row of numbers a line")
            if values:
                yield np.array(values, np.float32)
    except (csv.Error, UnicodeDecodeError) as error:
        raise LewmError(f"{source} cannot be read as CSV ({error}); give one row of numbers a line") from error


def _from_numpy(path: Path) -> Table:
    try:
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return _table(stored, str(path))
        with stored:
            names = [name for name in ("action", "actions") if name in stored.files] or stored.files
            if len(names) != 1:
                raise LewmError(f"{path} holds {', '.join(names) or 'nothing'}; name the array of actions `action`")
            return _table(stored[names[0]], f"{path}, {names[0]}")
    except (ValueError, EOFError, zipfile.BadZipFile, MemoryError, SyntaxError) as error:  # damaged, or a pickle
        raise LewmError(f"{path} cannot be read as numbers ({error}); write it again with numpy.savez") from error


def _table(array: npt.NDArray[np.generic], what: str) -> Table:
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]  # a batch of one
    if array.dtype.kind not in "iufb" or not array.ndim or array.size != len(array) * max(array.shape[1:], default=1):
        raise LewmError(f"{what} is {array.dtype} of shape {array.shape}; numbers (rows, dimensions) are needed")
    return array.reshape(len(array), -1).astype(np.float32)


def _from_parquet(path: Path, say: Say) -> Table:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise LewmError(f"{path} is a Parquet file, and pyarrow reads these: pip install pyarrow") from error
    try:
        with path.open("rb") as file:  # the library would take a folder or an address for data, too
            stored = parquet.read_table(file)
        lists = [name for name in ("action", "actions") if name in stored.column_names]
        if lists:  # as LeRobot writes them: one column of lists
            rows = stored.column(lists[0]).to_pylist()
            return _table(np.array([row if isinstance(row, list) else [row] for row in rows]), f"{path}, {lists[0]}")
        columns = _action_columns(stored.column_names, path, say)
        return _table(np.stack([stored.column(index).to_numpy() for index in columns], axis=1), str(path))
    except (ArrowException, ValueError, TypeError) as error:
        raise LewmError(f"{path} cannot be read as a table of numbers ({error}); give {FORMATS}") from error


def _from_text(path: Path, text: str, say: Say) -> Table:
    if text.lstrip().startswith(("[", "{")):
        return _from_json(str(path), text)
    lines = [line.strip(" ") for line in text.splitlines() if line.strip()]
    comments = [line.lstrip("# ") for line in lines if line.startswith("#")]
    lines = [line for line in lines if not line.startswith("#")]
    delimiter = next((mark for mark in (";", "\t", ",") if lines and mark in lines[0]), " ")
    try:
        rows, names = (_cells(part, delimiter) for part in (lines, comments[-1:]))
    except csv.Error as error:
        raise LewmError(f"{path} cannot be read as CSV ({error}); give {FORMATS}") from error
    while rows and all(row and not row[-1] for row in rows):  # every line ends with the mark
        rows = [row[:-1] for row in rows]
    # Where semicolons part the columns, a comma may part the decimals.
    if delimiter == ";" and "." not in "".join(lines[1:]):
        rows = [[cell.replace(",", ".") for cell in row] for row in rows]
    if rows and _are_names(rows):
        header, body = rows[0], rows[1:]
    else:  # numpy.savetxt writes names as a comment
        header, body = next((row for row in names if rows and len(row) == len(rows[0])), []), rows
    width = len(header or next(iter(body), []))
    values = np.empty((len(body), width), np.float64)
    for number, row in enumerate(body):
        found = [_number(cell) for cell in row]
        if len(found) != width or None in found:
            at = f"row {number + 1:,} of {path}" + (", the names not counted," if header else "")
            wrong = next((cell for cell, value in zip(row, found, strict=True) if value is None), None)
            has = f"has {len(found)} columns, and the first {width}" if len(found) != width else f"holds {wrong!r}"
            raise LewmError(f"{at} {has}; give {FORMATS}")
        values[number] = found
    if header:
        return values[:, _action_columns(header, path, say)].astype(np.float32)
    if width > 1 and np.array_equal(values[:, 0], values[:1, 0] + np.arange(len(values))) and len(values) > 2:
        say(f"actions: the first column of {path.name} counts its rows and is left out")
        values = values[:, 1:]
    return values.astype(np.float32)


def _cells(lines: list[str], delimiter: str) -> list[list[str]]:
    rows = csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter, skipinitialspace=True)
    return [[cell.strip() for cell in row if cell or delimiter != " "] for row in rows]


def _are_names(rows: list[list[str]]) -> bool:
    """True if the first row names columns: by words, or as a table without names is numbered."""
    first = rows[0]
    if all(_number(cell) is None or not cell for cell in first):
        return any(first)
    numbered = [cell for cell in first if cell] == [
        str(index) for index in range(len([cell for cell in first if cell]))
    ]
    return numbered and len(first) > 1 and (not first[0] or any("." in cell for row in rows[1:] for cell in row))


def _from_json(what: str, text: str) -> Table:
    try:
        stored = json.loads(text)
        if isinstance(stored, dict):
            stored = next(stored[name] for name in ("action", "actions") if name in stored)
        return _table(np.array(stored, np.float64), what)
    except (ValueError, TypeError, StopIteration, RecursionError) as error:
        raise LewmError(f"{what} does not hold rows of numbers, or has none named `action`; give {FORMATS}") from error


def _number(cell: str) -> float | None:
    if cell.lower() in UNKNOWN:
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        return None


def _action_columns(names: Sequence[str], path: Path, say: Say) -> list[int]:
    """The columns that hold actions: those that are named so if any are, else all that count nothing."""
    named = [index for index, name in enumerate(names) if re.match(r"actions?\b|actions?[_\d]", name, re.IGNORECASE)]
    chosen = named or [index for index, name in enumerate(names) if not COUNTING.fullmatch(name.strip())]
    if not chosen:
        raise LewmError(f"{path} has no column of actions, only {', '.join(names)}; give {FORMATS}")
    left_out = [name or "a column without a name" for index, name in enumerate(names) if index not in chosen]
    if left_out:
        say(f"actions: {', '.join(names[index] for index in chosen)} of {path.name}; left out: {', '.join(left_out)}")
    return chosen
