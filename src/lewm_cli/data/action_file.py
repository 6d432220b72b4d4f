"""Actions from a table that somebody wrote beside a video: CSV, NumPy, JSON or Parquet, told apart by content.

Beside its actions, a table may say the time of every row, the frame that it belongs to, its episode, and the state.
"""

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lewm_cli.errors import LewmError, MissingError
from lewm_cli.file_kind import FileKind, look
from lewm_cli.suggestion import few
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

UNIT = r"ns|nsecs?|nanos(?:econds)?|us|usecs?|micros(?:econds)?|ms|msecs?|millis(?:econds)?|s|secs?|seconds"
TIME = re.compile(
    r"(?:header[._])?(?:times?|time_?stamps?|stamp|t|date_?time|date)"
    rf"(?:[_ .]?[\[(]?(?P<unit>{UNIT})[\])]?)?|(?P<alone>{UNIT})",
    re.IGNORECASE,
)
FRAME = re.compile(r"(?:frame|image)s?(?:_?(?:index|idx|id|number|nr|no))?", re.IGNORECASE)
EPISODE = re.compile(r"(?:episode|ep|trajectory|traj|demo)(?:_?(?:index|idx|id|number|nr|no))?", re.IGNORECASE)
STATE = re.compile(r"(?:observation[._])?(?:state|proprio|qpos)s?(?:[._\[ ].*|\d+)?", re.IGNORECASE)
"""Names of columns with the time of a row, the frame and the episode that it belongs to, and the robot's state."""

SECONDS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "s": 1.0}
"""Length of a unit by the first letter of its name; the long name of `us` begins with `mic`."""

UNKNOWN = {"", "nan", "na", "n/a", "null", "none", "-"}
"""Words for an action that is not known."""

FORMATS = "a CSV, npz, npy or Parquet file with one row of numbers per frame"


@dataclass(frozen=True, eq=False)
class ActionTable:
    """Actions in rows, and what else a table says of every row.

    Args:
        actions: (K, A) float32, NaN where one is not known.
        names: one per action dimension; empty where the table has none.
        times: (K,) seconds of any clock, if there are any.
        frames: (K,) int64, numbers of the frames that rows belong to, if they are told.
        episodes: (K,) names or numbers of episodes, as text, if they are told.
        state: (K, P) float32, if there is any.
    """

    actions: Table
    names: tuple[str, ...] = ()
    times: npt.NDArray[np.float64] | None = None
    frames: npt.NDArray[np.int64] | None = None
    episodes: npt.NDArray[np.str_] | None = None
    state: Table | None = None


@dataclass(frozen=True, eq=False)
class _Columns:
    """Columns of a file: floats, texts or moments each; and its actions, if it has an array of them."""

    named: Mapping[str, npt.NDArray[Any]]
    listed: Table | None = None


def read_actions(path: Path, say: Say) -> Table:
    """Read actions (K, A); columns that count rows or time are left out, and named to `say`; errors of `read_table`."""
    return read_table(path, say).actions


def read_table(path: Path, say: Say, chosen: Sequence[str] = ()) -> ActionTable:
    """Read actions and what else is told of their rows; columns that are left out are named to `say`.

    Args:
        chosen: names of the columns that are the actions, or numbers from 0 on where they have none; else those that
            are named so, or all that count nothing.

    Raises:
        LewmError: there is no such file, it is of another kind, it does not hold numbers in rows, or not those chosen.
    """
    try:
        kind = look(path)
        match kind:
            case FileKind.NUMPY:
                columns = _from_numpy(path, chosen)
            case FileKind.PARQUET:
                columns = _from_parquet(path)
            case FileKind.TEXT | FileKind.JSON | FileKind.UNKNOWN:
                columns = _from_text(path, read_text(path, "a table of actions"), say)
            case _:
                workbook = "save the workbook as CSV, or unpack the table"
                advice = workbook if kind is FileKind.ZIP else kind.advice or f"give {FORMATS}"
                raise LewmError(f"{path} is {kind.value}, and actions are read from a table; {advice}")
    except FileNotFoundError as error:
        raise MissingError(f"there is no file {path}; --actions takes {FORMATS}") from error
    except OSError as error:
        raise explain(error, path, "read") from error
    table = _told(columns, path, say, chosen)
    if table.actions.size == 0:
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


def _told(columns: _Columns, path: Path, say: Say, chosen: Sequence[str]) -> ActionTable:
    named, names = columns.named, tuple(columns.named)
    if columns.listed is not None and _count(chosen):
        width = columns.listed.shape[1]
        if beyond := [name for name in chosen if int(name) >= width]:
            raise LewmError(f"{path} has no column {', '.join(beyond)}; it has {width}, from 0 on")
        columns, chosen = _Columns(named, columns.listed[:, list(map(int, chosen))]), ()
    if missing := [name for name in chosen if name not in named]:
        there = f"there is {few(names)}" if names else "its columns have no names"
        raise LewmError(f"{path} has no column {', '.join(missing)}; {there}")
    if chosen or columns.listed is None:
        names = tuple(chosen) or tuple(names[index] for index in _action_columns(names, path, say))
        actions = _matrix([_numbers(named[name], path, name) for name in names])
        names = () if all(name.isdigit() for name in names) else names
    else:
        actions, names = columns.listed, ()
    rest = {name.strip(): values for name, values in named.items() if name not in names and len(values) == len(actions)}

    def first(pattern: re.Pattern[str]) -> str | None:
        return next((name for name in rest if pattern.fullmatch(name)), None)

    time, frame, episode = first(TIME), first(FRAME), first(EPISODE)
    state = [_numbers(values, path, name) for name, values in rest.items() if STATE.fullmatch(name)]
    return ActionTable(
        actions=actions,
        names=names,
        times=seconds(time, rest[time], path) if time is not None else None,
        frames=_whole(rest[frame]) if frame is not None else None,
        episodes=_labels(rest[episode]) if episode is not None else None,
        state=_matrix(state) if state else None,
    )


def _matrix(columns: list[npt.NDArray[np.float64]]) -> Table:
    return np.stack(columns, axis=1).astype(np.float32) if columns else np.empty((0, 0), np.float32)


def _numbers(values: npt.NDArray[Any], path: Path, name: str = "") -> npt.NDArray[np.float64]:
    if values.dtype.kind in "iufb":
        return values.astype(np.float64)
    number, cell = next((number, cell) for number, cell in enumerate(values) if _number(str(cell)) is None)
    where = f"row {number + 1:,} of {path}" + (", the names not counted," if name else "")
    raise LewmError(f"{where} holds {str(cell)!r}{f' as {name}' if name else ''}; give {FORMATS}")


def seconds(name: str, values: npt.NDArray[Any], path: Path) -> npt.NDArray[np.float64]:
    """Times in seconds: of dates, or of numbers whose unit the column's name says, else their usual step."""
    if values.dtype.kind == "M":
        return values.astype("datetime64[ns]").astype(np.int64) / 1e9
    if values.dtype.kind == "U":
        try:
            return np.array([datetime.fromisoformat(cell).timestamp() for cell in values])
        except ValueError as error:
            raise LewmError(
                f"{path} holds a time that is not read ({error}); write seconds, or dates of ISO 8601"
            ) from error
    found = TIME.fullmatch(name)
    unit = (found["unit"] or found["alone"] or "").lower() if found else ""
    numbers = values.astype(np.float64)
    if unit:
        return numbers * SECONDS["u" if unit.startswith("mic") else unit[0]]
    steps = np.abs(np.diff(numbers))
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 1.0
    # No two rows are more than two seconds apart, so larger steps are counted in smaller units.
    return numbers * next(
        (scale for scale, longest in ((1.0, 2.0), (1e-3, 2e3), (1e-6, 2e6)) if usual <= longest), 1e-9
    )


def _whole(values: npt.NDArray[Any]) -> npt.NDArray[np.int64] | None:
    """Numbers of frames; None for names of files and what else is no whole number."""
    if values.dtype.kind not in "iufb" or not (np.isfinite(values) & (values == np.rint(values))).all():
        return None
    return values.astype(np.int64)


def _labels(values: npt.NDArray[Any]) -> npt.NDArray[np.str_]:
    whole = _whole(values)
    return (values if whole is None else whole).astype(np.str_)


def _from_numpy(path: Path, chosen: Sequence[str]) -> _Columns:
    try:
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return _Columns({}, _table(stored, str(path)))
        with stored:
            told = [name for name in stored.files if _tells(name)]
            actions = [name for name in ("action", "actions") if name in stored.files]
            listed = actions or [name for name in stored.files if name not in told]
            if len(listed) == 1 and (not chosen or _count(chosen)):
                return _Columns(_spread(stored, told), _table(stored[listed[0]], f"{path}, {listed[0]}"))
            singles = {name: stored[name] for name in ([*chosen, *told] if chosen else stored.files) if name in stored}
            if not singles or any(values.shape != (len(next(iter(singles.values()))),) for values in singles.values()):
                names = ", ".join(stored.files) or "nothing"
                raise LewmError(f"{path} holds {names}; name the array of actions `action`")
            return _Columns(singles)
    except (ValueError, EOFError, zipfile.BadZipFile, MemoryError, SyntaxError, TypeError) as error:  # or a pickle
        raise LewmError(f"{path} cannot be read as numbers ({error}); write it again with numpy.savez") from error


def _count(chosen: Sequence[str]) -> bool:
    """True for numbers of columns, which are chosen where columns have no names."""
    return bool(chosen) and all(name.isdecimal() for name in chosen)


def _tells(name: str) -> bool:
    """True if the name is that of a column which tells something of rows beside actions."""
    return any(pattern.fullmatch(name.strip()) for pattern in (TIME, FRAME, EPISODE, STATE))


def _spread(stored: Mapping[str, npt.NDArray[Any]], names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    """Arrays (K,) as they are, and (K, P) as a column for every dimension."""
    columns = {}
    for name in names:
        values = stored[name]
        if values.ndim == 1:
            columns[name] = values
        elif values.ndim == 2:
            columns |= {f"{name}_{index}": values[:, index] for index in range(values.shape[1])}
    return columns


def _table(array: npt.NDArray[np.generic], what: str) -> Table:
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]  # a batch of one
    if array.dtype.kind not in "iufb" or not array.ndim or array.size != len(array) * max(array.shape[1:], default=1):
        raise LewmError(f"{what} is {array.dtype} of shape {array.shape}; numbers (rows, dimensions) are needed")
    return array.reshape(len(array), -1).astype(np.float32)


def _from_parquet(path: Path) -> _Columns:
    from pyarrow import ArrowException, parquet  # late: few tables are of this kind

    try:
        with path.open("rb") as file:  # the library would take a folder or an address for data, too
            stored = parquet.read_table(file)
        listed, columns = None, {}
        for name in stored.column_names:
            values = stored.column(name)
            if name in ("action", "actions"):  # as LeRobot writes them: one column of lists
                rows = [row if isinstance(row, list) else [row] for row in values.to_pylist()]
                listed = _table(np.array(rows), f"{path}, {name}")
            elif not isinstance(values[0].as_py() if len(values) else None, list | dict):
                array = values.to_numpy()
                columns[name] = array.astype(np.str_) if array.dtype.kind == "O" else array
            elif _tells(name):
                columns |= _spread({name: np.array(values.to_pylist())}, [name])
        return _Columns(columns, listed)
    except (ArrowException, ValueError, TypeError) as error:
        raise LewmError(f"{path} cannot be read as a table of numbers ({error}); give {FORMATS}") from error


def _from_text(path: Path, text: str, say: Say) -> _Columns:
    if text.lstrip().startswith(("[", "{")):
        return _columns_of_json(path, text)
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
    for number, row in enumerate(body, start=1):
        if len(row) != width:
            at = f"row {number:,} of {path}" + (", the names not counted," if header else "")
            raise LewmError(f"{at} has {len(row)} columns, and the first {width}; give {FORMATS}")
    columns = [_column([row[index] for row in body]) for index in range(width)]
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise LewmError(f"{path} has {header.count(twice)} columns named {twice!r}; give each a name of its own")
    if header:
        return _Columns(dict(zip(header, columns, strict=True)))
    first, *others = [_numbers(column, path) for column in columns] if columns else [np.empty(0)]
    if others and len(first) > 2 and np.array_equal(first, first[:1] + np.arange(len(first))):
        say(f"actions: the first column of {path.name} counts its rows and is left out")
    else:
        others = [first, *others]
    return _Columns({}, _matrix(others))


def _column(cells: list[str]) -> npt.NDArray[Any]:
    """Cells of a column as numbers, or as they are if some are none."""
    texts = np.array(cells)
    with suppress(ValueError):  # much faster, where every cell is a number
        return texts.astype(np.float64)
    found = [_number(cell) for cell in cells]
    return texts if None in found else np.array(found, np.float64)


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


def _columns_of_json(path: Path, text: str) -> _Columns:
    listed = _from_json(str(path), text)
    stored = json.loads(text)
    told = {name: stored[name] for name in stored if _tells(name)} if isinstance(stored, dict) else {}
    try:
        return _Columns(_spread({name: np.array(values) for name, values in told.items()}, told), listed)
    except ValueError as error:  # lists of several lengths
        raise LewmError(f"{path} does not hold one value for every row in {few(told)} ({error})") from error


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
    chosen = named or [
        index for index, name in enumerate(names) if not (COUNTING.fullmatch(name.strip()) or _tells(name))
    ]
    if not chosen:
        raise LewmError(f"{path} has no column of actions, only {', '.join(names)}; give {FORMATS}")
    left_out = [name or "a column without a name" for index, name in enumerate(names) if index not in chosen]
    if left_out:
        say(f"actions: {', '.join(names[index] for index in chosen)} of {path.name}; left out: {', '.join(left_out)}")
    return chosen
