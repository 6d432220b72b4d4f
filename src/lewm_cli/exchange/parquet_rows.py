"""Reads of a Parquet file only the columns and the groups of rows that are needed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lewm_cli.errors import LewmError, MissingError
from lewm_cli.file_kind import FileKind, look, mistaken
from lewm_cli.system_errors import explain

if TYPE_CHECKING:
    import pyarrow

KEPT = 2
"""Groups of rows that are kept in memory, for episodes that share one are read one after the other."""

END = b"PAR1"
"""The last bytes of a Parquet file."""


def read_table(path: Path, columns: Sequence[str] | None = None) -> "pyarrow.Table":
    """Read columns of a file, in this order; all of them if none are given.

    Raises:
        MissingError: there is no such file.
        LewmError: it is damaged, or has no such column.
    """
    with _explained(path):
        return _joined(path, range(_metadata(path).num_row_groups), columns)


def read_rows(path: Path, columns: Sequence[str], key: str, value: int) -> "pyarrow.Table":
    """Read the rows of a file in which a column of whole numbers has a value; errors as of `read_table`."""
    with _explained(path):
        from pyarrow import compute

        metadata = _metadata(path)
        groups = [group for group in range(metadata.num_row_groups) if _may_hold(metadata.row_group(group), key, value)]
        table = _joined(path, groups, list(dict.fromkeys([key, *columns])))
        return table.filter(compute.equal(table[key], value)).select(list(columns))


def numbers(column: "pyarrow.ChunkedArray", width: int) -> npt.NDArray[np.generic] | None:
    """Turn rows of numbers, lists or single ones, into an array (rows, width); None if one is of another length."""
    from pyarrow import compute, types

    array = column.combine_chunks()
    if types.is_list(array.type) or types.is_large_list(array.type) or types.is_fixed_size_list(array.type):
        if compute.any(compute.not_equal(compute.list_value_length(array).fill_null(0), width)).as_py():
            return None
        array = array.flatten()
    if not (types.is_integer(array.type) or types.is_floating(array.type) or types.is_boolean(array.type)):
        return None
    found: npt.NDArray[np.generic] = array.to_numpy(zero_copy_only=False)
    return found.reshape(len(column), width) if found.size == len(column) * width else None


def contents(column: "pyarrow.ChunkedArray") -> Iterator[bytes | None]:
    """Yields the image file in every row of structs {bytes, path}; None where there is none."""
    from pyarrow import compute, types

    if types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = compute.struct_field(column, "bytes")
    for row in column:
        yield row.as_py() if types.is_binary(row.type) or types.is_large_binary(row.type) else None


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        from pyarrow import ArrowException
    except ImportError as error:
        raise LewmError(f"{path} is a Parquet file, and pyarrow reads these: pip install pyarrow") from error
    try:
        yield
    except FileNotFoundError as error:
        raise MissingError(f"{path} is missing; copy or download it again") from error
    except (ArrowException, ValueError) as error:
        raise _damaged(path, error) from error
    except OSError as error:  # Arrow says so of files, too
        raise explain(error, path, "read") if error.errno else _damaged(path, error) from error


def _metadata(path: Path) -> "pyarrow.parquet.FileMetaData":
    from pyarrow import parquet

    with path.open("rb") as file:
        file.seek(-min(len(END), path.stat().st_size), 2)
        if file.read() != END:  # Arrow says it in a way that nobody understands
            raise _damaged(path, "it has no end")
    return parquet.read_metadata(path)


def _may_hold(group: "pyarrow.parquet.RowGroupMetaData", key: str, value: int) -> bool:
    chunks = (group.column(index) for index in range(group.num_columns))
    statistics = next((chunk.statistics for chunk in chunks if chunk.path_in_schema == key), None)
    return not (statistics and statistics.has_min_max) or statistics.min <= value <= statistics.max


def _joined(path: Path, groups: Sequence[int], columns: Sequence[str] | None) -> "pyarrow.Table":
    import pyarrow
    from pyarrow import parquet

    changed, named = path.stat().st_mtime_ns, None if columns is None else tuple(columns)
    parts = [_group(path, changed, group, named) for group in groups]
    table = pyarrow.concat_tables(parts or [parquet.read_schema(path).empty_table()])
    lacking = [name for name in columns or () if name not in table.column_names]
    if lacking:
        raise LewmError(f"{path} has no column {lacking[0]!r}, which a LeRobot data set has; write it again")
    return table if named is None else table.select(list(named))


@lru_cache(maxsize=KEPT)
def _group(path: Path, changed: int, group: int, columns: tuple[str, ...] | None) -> "pyarrow.Table":
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        return file.read_row_group(group, columns=None if columns is None else list(columns))


def _damaged(path: Path, why: object) -> LewmError:
    kind = look(path)
    if kind is not FileKind.PARQUET:
        return LewmError(f"{path} is damaged: {mistaken(path, kind, 'a Parquet file')}")
    said = " ".join(str(why).split())
    return LewmError(
        f"{path} is cut short or damaged ({said}); copy or download it again, or, where LeRobot has just recorded it, "
        "end the recording with `dataset.finalize()`"
    )
