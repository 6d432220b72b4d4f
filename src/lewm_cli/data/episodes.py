"""The first and last rows of episodes, read from whatever says where they are."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import h5py
import numpy as np
import numpy.typing as npt

from lewm_cli.data.hdf5_file import GUIDE, dataset_at, read_whole
from lewm_cli.errors import LewmError
from lewm_cli.plural import counted
from lewm_cli.suggestion import command

BOOKKEEPING = ("ep_len", "ep_offset")

ENDS = ("episode_ends", "meta/episode_ends")
"""Columns of the row after each episode's last one, as Diffusion Policy has them."""

NUMBERS = ("ep_idx", "episode_idx", "episode_index", "episode_id", "episode")
"""Columns that number the episode of every row."""

DONE = ("done", "dones", "is_last")
"""Columns that are set in every episode's last row."""

TERMINATED = ("terminals", "terminal", "terminated", "terminations")
CUT_OFF = ("timeouts", "timeout", "truncated", "truncations")
"""Columns that are set in the last row of an episode that was cut off; the others end where something above is set."""

FIRST = "is_first"
"""The column that is set in every episode's first row."""

SAY_EPISODES = (*BOOKKEEPING, *ENDS, *NUMBERS, *DONE, *TERMINATED, *CUT_OFF, FIRST)
"""All columns that are known to say where episodes are."""

FLAGGED = "a flag is set in the last row of every episode alone, or in the first"
"""Words for flags that say where episodes are."""

STARTS = re.compile(r"first|start|begin|reset")
"""Parts of names of flags that are set in every episode's first row."""

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Episodes:
    """The rows of every episode.

    Args:
        lengths: (E,) rows of each.
        offsets: (E,) first row of each.
        said_by: the columns that say it.
        unfinished: rows at the end that belong to an episode whose end is not marked.
    """

    lengths: Whole
    offsets: Whole
    said_by: tuple[str, ...]
    unfinished: int = 0

    @property
    def note(self) -> str | None:
        """The columns they are read from, in words; None if these are what recordings have."""
        if self.said_by == BOOKKEEPING:
            return None
        read = f"{counted(len(self.lengths), 'episode')} read from {' and '.join(self.said_by)}"
        rest = f"; without an end, and taken as one more: the last {counted(self.unfinished, 'row')}"
        return read + rest * bool(self.unfinished)

    @property
    def flag_fault(self) -> str | None:
        """A sentence for flags that stay set, so that episodes have one row, which nobody records; else None."""
        single = np.flatnonzero(self.lengths == 1)
        if not len(single) or not {*BOOKKEEPING, *ENDS, *NUMBERS}.isdisjoint(self.said_by):
            return None
        row, by = int(self.offsets[single[0]]), " and ".join(self.said_by)
        says = f"{by} says that {counted(len(single), 'episode')} had a single row, first in row {row:,}"
        return f"{says}, and {FLAGGED}; {_write_tables()}"

    @property
    def in_a_row(self) -> bool:
        """Tell whether they lie one after the other, without gaps."""
        return bool((self.offsets == np.cumsum(self.lengths) - self.lengths).all())


def find_episodes(file: h5py.File, rows: tuple[int, ...]) -> Episodes:
    """Read where episodes begin and end.

    Args:
        rows: of frames and of actions; what counts rows has to have one of these numbers.

    Raises:
        LewmError: nothing says it, two columns say different things, or what they say cannot be.
    """
    path = file.filename
    tables = tuple(key for key in BOOKKEEPING if dataset_at(file, key) is not None)
    if tables == BOOKKEEPING:
        lengths, offsets = (_numbers(file, key, max(rows)) for key in BOOKKEEPING)
        if len(lengths) != len(offsets):
            raise LewmError(
                f"{path}: ep_len describes {len(lengths)} episodes and ep_offset {len(offsets)}; "
                "the file is damaged: fetch or record it again"
            )
        found = Episodes(lengths, offsets, BOOKKEEPING)
    else:
        sources = [*_tables(file, rows), *_numberings(file, rows)]
        # A flag may stand in the middle of an episode, where something was reached and went on.
        found = sources[0] if sources else _flagged(file, rows)
        for other in sources[1:]:
            if not np.array_equal(found.lengths, other.lengths):
                raise LewmError(
                    f"{path}: {found.said_by[0]} and {other.said_by[0]} do not agree where episodes end; "
                    f"write ep_len and ep_offset, which decide: {GUIDE}#episodes"
                )
    _refuse_impossible(found, max(rows), path)
    return found


def episodes_by(file: h5py.File, keys: tuple[str, ...], rows: tuple[int, ...]) -> Episodes:
    """Read where episodes begin and end from columns that somebody names, whatever they are called.

    Args:
        keys: one with a number or a text per episode or row; or several flags, of which any ends an episode.
        rows: of frames and of actions; what counts rows has to have one of these numbers.

    Raises:
        LewmError: they say nothing that can be understood, or what they say cannot be.
    """
    stored = [file[key] for key in keys]
    if len(keys) == 1 and stored[0].size not in rows:
        found = _from_ends(_ends_of_table(_numbers(file, keys[0], max(rows)), keys[0], rows, file.filename), keys)
    elif len(keys) == 1 and not _are_flags(stored[0]):
        if stored[0].dtype.kind == "b":
            up = int(read_whole(stored[0]).sum())
            says = f"stays set over the last {counted(up, 'row')}" if up else "is never set"
            raise LewmError(f"{file.filename}: {keys[0]} {says}, and {FLAGGED}; {_write_tables()}")
        found = _from_ends(_ends_of_numbers(_one_per_row(stored[0]), keys[0], file.filename), keys)
    else:
        flags = [one for key in keys if (one := _flags(file, key, rows)) is not None]
        if len(flags) < len(keys) or len({len(one) for one in flags}) > 1:
            raise LewmError(f"{file.filename}: {' and '.join(keys)} are no flags of 0 and 1 with {_counted(rows)}")
        ends = np.any(flags, axis=0)
        if STARTS.search(keys[0]) or (ends[0] and not ends[-1]):
            ends = np.append(ends[1:], True)
        found = _from_flags(ends, keys)
    _refuse_impossible(found, max(rows), file.filename)
    return found


def _ends_of_table(values: Whole, key: str, rows: tuple[int, ...], path: str) -> Whole:
    """The row after each episode's last one, of a table of lengths, ends or first rows."""
    later = values[1:] if len(values) and values[0] == 0 else values
    meant = (np.cumsum(values), later, np.append(values[1:], rows[0]) if len(later) < len(values) else values)
    for ends in meant:
        # Of actions, every episode may have one fewer than frames.
        counts = (rows[0], rows[-1] if rows[-1] + len(ends) == rows[0] else rows[0])
        if len(ends) and ends[0] > 0 and (np.diff(ends) > 0).all() and ends[-1] in counts:
            return ends
    raise LewmError(
        f"{path}: {key} holds {counted(len(values), 'number')}, which are no lengths, ends or first rows of episodes "
        f"of {_counted(rows)}; name a column that has one of these, or a value for every row"
    )


def _are_flags(stored: h5py.Dataset) -> bool:
    """Tell flags, that are set here and there, from numbers of two episodes, of which the second has more rows."""
    if stored.dtype.kind not in "biuf":
        return False
    values = read_whole(stored).reshape(-1)
    return bool(np.isin(values, (0, 1)).all()) and not ((np.diff(values.astype(int)) >= 0).all() and values.sum() != 1)


def _one_per_row(stored: h5py.Dataset) -> np.ndarray:
    """Numbers of episodes as they are; of names, the place of each among all."""
    if stored.dtype.kind in "biuf":
        return _numbers(stored.file, stored.name, stored.size)
    values = read_whole(stored).reshape(-1)
    return np.unique([str(value) for value in values], return_inverse=True)[1]


def _tables(file: h5py.File, rows: tuple[int, ...]) -> Iterator[Episodes]:
    """The columns with one number per episode, where they stand alone."""
    for key in (*BOOKKEEPING, *ENDS):
        if dataset_at(file, key) is None or (key == "ep_offset" and len(set(rows)) > 1):
            continue
        values = _numbers(file, key, max(rows))
        if key == "ep_len":
            values = np.cumsum(values)
            kind = f"ep_len adds up to {values[-1] if len(values) else 0:,} rows"
        elif key == "ep_offset":
            if len(values) and values[0] != 0:
                raise LewmError(f"{file.filename}: ep_offset begins at {values[0]}, not at 0; {_write_tables()}")
            values, kind = np.append(values[1:], rows[0])[: len(values)], ""
        else:
            kind = f"{key} ends at row {values[-1] if len(values) else 0:,}"
        if len(values) and values[-1] not in rows:
            raise LewmError(f"{file.filename}: {kind}, and the file has {_counted(rows)}; {_write_tables()}")
        yield _from_ends(values, (key,))


def _numberings(file: h5py.File, rows: tuple[int, ...]) -> Iterator[Episodes]:
    """The columns with the number of the episode of every row."""
    for key in NUMBERS:
        stored = dataset_at(file, key)
        if stored is None or len(stored.shape) == 0 or len(stored) not in rows or stored.dtype.kind not in "iuf":
            continue
        values = _numbers(file, key, max(rows))
        yield _from_ends(_ends_of_numbers(values, key, file.filename), (key,))


def _ends_of_numbers(values: Whole, key: str, path: str) -> Whole:
    """The row after each episode's last one, of a column with the number of the episode of every row."""
    ends = np.append(np.flatnonzero(np.diff(values)) + 1, len(values))
    starts = values[ends - 1]
    if len(np.unique(starts)) < len(starts):
        place = np.setdiff1d(np.arange(len(starts)), np.unique(starts, return_index=True)[1])[0]
        raise LewmError(
            f"{path}: {key} returns to {starts[place]} in row {ends[place - 1]:,}, so episodes cannot be "
            f"told apart by it; {_write_tables()}"
        )
    return ends


def _flagged(file: h5py.File, rows: tuple[int, ...]) -> Episodes:
    """Episodes by the columns that are set where one ends."""
    done, terminated, cut_off, first = (
        {key: flags for key in keys if (flags := _flags(file, key, rows)) is not None}
        for keys in (DONE, TERMINATED, CUT_OFF, (FIRST,))
    )
    # What is set where something was reached says less than what is set where every episode begins.
    used = done or first or terminated | cut_off
    found = list(used.values())
    if done and any(not np.array_equal(found[0], other) for other in found[1:]):
        raise LewmError(f"{file.filename}: {' and '.join(done)} do not agree where episodes end; {_write_tables()}")
    ends = np.any(found, axis=0) if len({len(flags) for flags in found}) == 1 else None
    if first and not first[FIRST][0]:
        raise LewmError(f"{file.filename}: {FIRST} is not set in the first row; {_write_tables()}")
    if first and not done:
        ends = np.append(first[FIRST][1:], True)
    elif first and not np.array_equal(first[FIRST][1:], found[0][:-1]):
        raise LewmError(f"{file.filename}: {FIRST} and {next(iter(done))} do not agree; {_write_tables()}")
    if ends is None or not ends.any():
        looked = f"{' and '.join(used)} is never set" if used else "no other column says where episodes end"
        raise LewmError(f"{file.filename} has no column 'ep_len', and {looked}; {_write_tables()}")
    if ends[0] and not ends[-1]:
        says = f"{' and '.join(used)} is set in the first row and not in the last, as if it marked where episodes begin"
        raise LewmError(f"{file.filename}: {says}; {_write_tables()}")
    return _from_flags(ends, tuple(used))


def _flags(file: h5py.File, key: str, rows: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
    stored = dataset_at(file, key)
    if stored is None or stored.dtype.kind not in "biuf" or stored.size not in rows or len(stored) != stored.size:
        return None
    values = read_whole(stored).reshape(-1)
    if not np.isin(values, (0, 1)).all():
        raise LewmError(f"{file.filename}: {key} holds other values than 0 and 1; {_write_tables()}")
    return values.astype(bool)


def _numbers(file: h5py.File, key: str, most: int) -> Whole:
    """A column of whole numbers, (E,), (E, 1) or (1, E); at most as many as there are rows."""
    stored = file[key]
    if stored.dtype.kind not in "iuf" or stored.ndim == 0 or stored.size != max(stored.shape):
        raise LewmError(
            f"{file.filename}: {key} is {stored.dtype} of shape {stored.shape}; one whole number each is needed"
        )
    if stored.size > most:
        raise LewmError(f"{file.filename}: {key} has {stored.size:,} numbers, and the file {most:,} rows")
    values = read_whole(stored).reshape(-1)
    if not (np.isfinite(values) & (np.abs(values) < 2**62) & (values == np.floor(values))).all():
        raise LewmError(f"{file.filename}: {key} holds other values than whole numbers; {_write_tables()}")
    return values.astype(np.int64)


def _from_ends(ends: np.ndarray, said_by: tuple[str, ...], unfinished: int = 0) -> Episodes:
    ends = ends.astype(np.int64)
    lengths = np.diff(ends, prepend=0)
    return Episodes(lengths, ends - lengths, said_by, unfinished)


def _from_flags(ends: npt.NDArray[np.bool_], said_by: tuple[str, ...]) -> Episodes:
    """Episodes that end where a flag is set; rows behind the last one are one more."""
    places = np.flatnonzero(ends) + 1
    unfinished = len(ends) - int(places[-1]) if len(places) else len(ends)
    return _from_ends(np.append(places, len(ends)) if unfinished else places, said_by, unfinished)


def _refuse_impossible(found: Episodes, rows: int, path: str) -> None:
    lengths, offsets = found.lengths, found.offsets
    if len(lengths) == 0:
        raise LewmError(f"{path} holds no episodes; record some with: {command('collect', 'TASK', '--episodes', 'N')}")
    order = np.argsort(offsets, kind="stable")
    apart = lengths.min() >= 1 and offsets.min() >= 0 and max(lengths.max(), offsets.max()) <= rows
    ends = (offsets + lengths)[order]
    if not apart or ends[-1] > rows or (ends[:-1] > offsets[order][1:]).any():
        raise LewmError(
            f"{path}: {' and '.join(found.said_by)} do not describe episodes that lie apart within its {rows} rows; "
            "the file is damaged or incomplete: fetch or record it again"
        )


def _counted(rows: tuple[int, ...]) -> str:
    return f"{rows[0]:,} frames" + (f" and {rows[1]:,} rows of actions" if len(set(rows)) > 1 else "")


def _write_tables() -> str:
    return f"write ep_len and ep_offset: {GUIDE}#episodes"
