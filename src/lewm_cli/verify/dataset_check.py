"""Checks a recording: schema, episodes, columns, and every frame."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from math import ceil
from pathlib import Path, PurePath

import h5py
import numpy as np
import numpy.typing as npt

from lewm_cli.data import Finding, HDF5Dataset, Problem, Remark, open_dataset, packing_of
from lewm_cli.data.episodes import BOOKKEEPING
from lewm_cli.data.frame_writer import claimed_packing, stored_packing
from lewm_cli.data.hdf5_file import filters_of
from lewm_cli.data.recording_check import (
    NAMED,
    NOWHERE,
    action_findings,
    blank_findings,
    dark_findings,
    episode_of_rows,
    is_blank,
    missing_findings,
    still_findings,
    stray_findings,
)
from lewm_cli.errors import LewmError
from lewm_cli.plural import counted
from lewm_cli.store.origin import dataset_origin
from lewm_cli.suggestion import command, few
from lewm_cli.tasks import find_task
from lewm_cli.verify.check import DatasetCheck, origin_findings

FETCH_AGAIN = "fetch or record it again"

EPISODE_COLUMNS = ("ep_idx", "episode_idx")
STEP_COLUMN = "step_idx"
ROWS_AT_ONCE = 65_536
FRAMES_AT_ONCE = 64
"""Frames that are decoded at a time at least; whole chunks, because HDF5 decodes nothing smaller."""

Whole = npt.NDArray[np.int64]

RowProgress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Enters a stage of so many rows, and yields what is told the number of rows done since the last call."""


def check_dataset(name: str, path: Path, progress: RowProgress) -> DatasetCheck:
    """Check everything in a recording; damage is a finding, never an error; `progress` shows the decoding."""
    check = DatasetCheck(name=name, path=path)
    opened: list[HDF5Dataset] = []

    def opening() -> tuple[Finding, ...]:
        opened.append(open_dataset(path, name))
        return ()

    check.look(path.name, opening, FETCH_AGAIN)
    what = (name, "--dataset")
    check.look("its origin", lambda: origin_findings(dataset_origin(path), what), FETCH_AGAIN)
    if not opened:
        return check
    dataset = opened[0]
    check.episodes, check.rows = dataset.episodes, dataset.rows
    again = _again(dataset)
    names = [column.name for column in dataset.columns]
    check.look("a column", lambda: missing_findings(dataset, names), again)
    check.look("ep_len and ep_offset", lambda: _bookkeeping_findings(dataset), again)
    check.look("action", lambda: action_findings(dataset), again)
    check.look("a column", lambda: _column_findings(dataset), again)
    check.look("pixels", lambda: _packing_findings(dataset, check), again)
    check.look("pixels", lambda: frame_findings(dataset, progress, check), again)
    return check


def _bookkeeping_findings(dataset: HDF5Dataset) -> Iterator[Finding]:
    """Compare ep_len and ep_offset with the columns that number episodes and steps."""
    columns = {column.name for column in dataset.columns}
    yield from stray_findings(dataset)
    numbering = [name for name in (*EPISODE_COLUMNS, STEP_COLUMN) if name in columns]
    for name in numbering:
        values = dataset.read(name, slice(None))
        one_number = values.dtype.kind in "iuf" and values.size == len(values)
        if not one_number or not (np.isfinite(values) & (values == np.floor(values))).all():
            yield Problem(f"{name} does not hold one whole number per row")
            continue
        episodes = episode_of_rows(dataset, len(values))
        judge = _steps if name == STEP_COLUMN else _episode_numbers
        yield from judge(dataset, name, values.reshape(-1).astype(np.int64), episodes)
    if not numbering:
        yield Remark("no column numbers episodes or steps, so ep_len and ep_offset have nothing to agree with")


def _column_findings(dataset: HDF5Dataset) -> Iterator[Finding]:
    """Read every other column; name those that hold no information."""
    with dataset.opened() as file:
        frames = len(dataset.stored(file, "pixels"))
        own = (dataset.pixels.column, dataset.action.column)
        counts = (frames, dataset.episodes, len(dataset.stored(file, "action")))
        for name in file:
            item = file.get(name)
            if not isinstance(item, h5py.Dataset) or not item.ndim or name in (*BOOKKEEPING, own[0]):
                continue
            if len(item) not in counts:
                yield Problem(f"{name} has {len(item):,} rows and pixels have {frames:,}")
            if name not in own:
                yield from _values(item, name)


def _packing_findings(dataset: HDF5Dataset, check: DatasetCheck) -> Iterator[Finding]:
    """Compare the way that frames are packed with what their attributes say."""
    with dataset.opened() as file:
        pixels = dataset.stored(file, "pixels")
        check.packed, claimed = stored_packing(pixels), claimed_packing(pixels)
        if claimed and (check.packed is None or claimed != (check.packed.codec, check.packed.size)):
            codec, size = claimed
            yield Problem(
                f"pixels claim to be packed with {codec}, one frame of {size} x {size} per chunk, and lie in chunks of "
                f"{pixels.chunks} under the HDF5 filters {few(map(str, filters_of(pixels)))}",
                "another tool has rewritten them; pack them again: "
                f"{command('pack', dataset.name, '--codec', codec, '--replace')}",
            )


def frame_findings(dataset: HDF5Dataset, progress: RowProgress, check: DatasetCheck) -> Iterator[Finding]:
    """Decode every frame, and count in the check what was decoded."""
    still = np.append(dataset.lengths > 1, False)  # rows that belong to no episode look up the last
    lost: list[tuple[int, int]] = []
    blank: list[int] = []
    brightest = 0
    with ExitStack() as stack:
        pixels = dataset.stored(stack.enter_context(dataset.opened()), "pixels")
        advance = stack.enter_context(progress(len(pixels)))
        episodes = episode_of_rows(dataset, len(pixels))
        check.checksums = bool(pixels.fletcher32)
        chunk = pixels.chunks[0] if pixels.chunks else FRAMES_AT_ONCE
        step = chunk * ceil(FRAMES_AT_ONCE / chunk)
        last = np.empty(0)
        waiting = deque((start, min(start + step, len(pixels))) for start in range(0, len(pixels), step))
        while waiting:
            start, stop = waiting.popleft()
            try:
                frames = dataset.read("pixels", slice(start, stop))
            except LewmError:
                if stop - start > chunk and pixels.chunks:  # some of them are whole
                    parts = range(start, stop, chunk)
                    waiting.extendleft(reversed([(part, min(part + chunk, stop)) for part in parts]))
                    continue
                lost.append((start, stop))
                # What cannot be decoded is reported as that, and says nothing about moving.
                still[episodes[start:stop]] = False
            else:
                check.decoded += stop - start
                brightest = max(brightest, frames.max())
                blank += (start + np.flatnonzero(is_blank(frames) & (episodes[start:stop] != NOWHERE))).tolist()
                for row in range(start, stop):
                    episode = episodes[row]
                    if still[episode] and row > dataset.offsets[episode]:
                        before = frames[row - start - 1] if row > start else last
                        still[episode] = np.array_equal(frames[row - start], before)
                last = frames[-1].copy()  # else the whole block stays in memory
            advance(stop - start)
    if lost:
        rows = sum(stop - start for start, stop in lost)
        named = "; ".join(dataset.place(*span) for span in lost[:NAMED])
        rest = "; ..." if len(lost) > NAMED else ""
        yield Problem(f"frames of {counted(rows, 'row')} cannot be decoded: {named}{rest}")
    yield from dark_findings(brightest)
    yield from still_findings(np.flatnonzero(still).tolist())
    yield from blank_findings([row for row in blank if not still[episodes[row]]])


def _episode_numbers(dataset: HDF5Dataset, name: str, numbers: Whole, episodes: Whole) -> Iterator[Finding]:
    """The first reason why a column does not number the episodes, if there is one."""
    first, order = numbers[dataset.offsets], np.arange(dataset.episodes)
    inside = episodes != NOWHERE
    changing = np.flatnonzero(inside & (numbers != first[episodes]))
    left_out = np.flatnonzero(~inside & np.isin(numbers, first))
    seen, count = np.unique(first, return_counts=True)
    if len(changing):
        row = changing[0]
        yield Problem(
            f"{name} is {numbers[row]} in row {row:,}, within episode {episodes[row]} that begins with "
            f"{first[episodes[row]]}: ep_len and ep_offset do not agree with it"
        )
    elif len(left_out):
        row = left_out[0]
        yield Problem(f"row {row:,} has {name} {numbers[row]} and lies outside of that episode: ep_len is too short")
    elif count.max() > 1:
        twice = np.flatnonzero(first == seen[count.argmax()])
        yield Problem(f"episodes {twice[0]} and {twice[1]} have the same {name}, {first[twice[0]]}")
    # A selection of episodes may keep its numbers; a complete set of them has to be in order.
    elif np.array_equal(seen, order) and (first != order).any():
        number = np.flatnonzero(first != order)[0]
        yield Problem(f"ep_offset of episode {number} leads to rows with {name} {first[number]}")


def _steps(dataset: HDF5Dataset, name: str, steps: Whole, episodes: Whole) -> Iterator[Finding]:
    first = steps[dataset.offsets]
    due = first[episodes] + np.arange(len(steps)) - dataset.offsets[episodes]
    wrong = np.flatnonzero((episodes != NOWHERE) & (steps != due))
    if len(wrong):
        row = wrong[0]
        problem = f"{name} does not count up by 1 in episode {episodes[row]}"
        yield Problem(f"{problem}: row {row:,} has {steps[row]}, not {due[row]}")
    late = np.flatnonzero((first != 0) & (first != 1))
    if len(late):
        yield Problem(f"{name} of episode {late[0]} begins at {first[late[0]]}, not at 0 or 1")
    from_one = int((first == 1).sum())
    if from_one:
        where = "" if from_one == dataset.episodes else f" in {from_one:,} of {dataset.episodes:,} episodes"
        yield Remark(f"{name} begins at 1{where}, as World.collect of stable_worldmodel has it")


def _values(item: h5py.Dataset, name: str) -> Iterator[Finding]:
    known, endless = 0, 0
    try:
        for start in range(0, len(item), ROWS_AT_ONCE):
            values = item[start : start + ROWS_AT_ONCE]
            if values.dtype.kind == "f":
                known += int((~np.isnan(values)).sum())
                endless += int(np.isinf(values).sum())
    except OSError as error:
        yield Problem(f"column {name} cannot be read ({error})")
        return
    if item.dtype.kind == "f" and item.size and known == 0:
        yield Remark(f"{name} is NaN throughout")
    if endless:
        yield Remark(f"{name} holds infinity in {endless:,} places")


def _again(dataset: HDF5Dataset) -> str:
    """The way to get a recording again; `lewm collect` makes the same once more, because the seed decides it."""
    packing, by_path = packing_of(dataset), dataset.name == str(dataset.path)
    if packing and packing.source_name and packing.source_name != dataset.path.stem and not by_path:
        source = PurePath(dataset.name).with_name(packing.source_name).as_posix()
        if dataset.path.with_stem(packing.source_name).exists():
            how = ("--name", dataset.name, "--codec", packing.codec, "--size", packing.size)
            return f"pack it again: {command('rm', dataset.name, '--dataset')} && {command('pack', source, *how)}"
    if dataset.imported and not by_path:
        return f"import it again: {command('rm', dataset.name, '--dataset')} && {dataset.imported.command}"
    task = find_task(dataset.task) if dataset.task else None
    with dataset.opened() as file:
        starts = file.attrs.get("starts")
    acted = [name for name, words in task.demonstrators.items() if words == dataset.policy] if task else []
    if not acted or task is None or dataset.seed is None or starts not in ("any", "task") or by_path:
        return FETCH_AGAIN
    options = [
        *(["--policy", *acted] if acted[0] != next(iter(task.demonstrators)) else []),
        *(["--any-room"] if starts == "any" else []),
        *(["--vary", dataset.varies] if dataset.varies else []),
    ]
    numbers = ("--episodes", dataset.episodes, "--seed", dataset.seed)
    collect = command("collect", task.name, *numbers, "--name", dataset.name, *options)
    return f"record the same again: {command('rm', dataset.name, '--dataset')} && {collect}"
