"""Import a recording of another tool: looks at it, decides what it is called, and puts it in place when it is whole."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from lewm_cli.data import Dataset, open_dataset, require_usable
from lewm_cli.errors import LewmError, MissingError, TakenError
from lewm_cli.exchange.converted_recording import Conversion, Finished
from lewm_cli.exchange.lerobot_source import lerobot_files
from lewm_cli.exchange.recognized import open_source
from lewm_cli.exchange.source import Asked
from lewm_cli.exchange.survey import AskedFrames, Survey, survey
from lewm_cli.fetch.archive_checks import gigabytes
from lewm_cli.fetch.destinations import free_bytes
from lewm_cli.files import locked, remove_stale_parts, sync, try_writing
from lewm_cli.flows import Progress, stopped_with
from lewm_cli.stop import StopRequest
from lewm_cli.store import Home, Say, is_name
from lewm_cli.store.home import half_done
from lewm_cli.store.names import RELEASED
from lewm_cli.system_errors import explained
from lewm_cli.workers import IN_FLIGHT

MEGABYTE = 10**6

WORTH_A_PROCESS = 256
"""Frames for which a process is started; for fewer, its start would take longer than they do."""

HUB_ID = re.compile(r"(?!.*\.(?:h5|hdf5|npz|mp4|mkv|avi|mov|webm)$)\w[\w.-]*/\w[\w.-]*", re.IGNORECASE)
"""Owner and name of a data set on the Hub, and no file that is not there."""


@dataclass(frozen=True)
class ImportRequest:
    """An import as it is asked for.

    Args:
        source: path or Hub id, as typed.
        asked: of the layout.
        name: of the recording; a free one like the source's if not given.
        frames: asked of its frames.
        skip_damaged: leave out episodes that cannot be read.
    """

    source: str
    asked: Asked
    name: str | None = None
    frames: AskedFrames = field(default_factory=AskedFrames)
    skip_damaged: bool = False


def plan_import(home: Home, request: ImportRequest, say: Say, progress: Progress) -> tuple[str, Survey]:
    """Look at a source, and write nothing; the name that the recording would get, and what is known of the source.

    Raises:
        UsageError: a name that cannot be had, or a box outside of the frames.
        LewmError: the source is of no layout that is known, or nothing of it can be read.
    """
    name = request.name or next(_free_names(home, request))
    _refuse_taken(home, name)
    return name, _surveyed(request, say, progress, download=False)


def import_recording(
    home: Home, request: ImportRequest, *, workers: int, say: Say, progress: Progress
) -> tuple[Dataset, Finished]:
    """Import, and open what was imported; what an earlier call left half done is gone on with.

    Raises:
        UsageError: a name that cannot be had, or a box outside of the frames.
        LewmError: the source is of no layout that is known or damaged, the name is taken, or the disk has no room.
        StoppedError: Ctrl-C or SIGTERM; what was converted is kept.
    """
    names = iter([request.name]) if request.name else _free_names(home, request)
    first = next(names)
    _refuse_taken(home, first)
    try_writing(home.dataset_path(first))
    found = _surveyed(request, say, progress, download=True)
    if found.damaged and not request.skip_damaged:
        raise LewmError(f"{found.damaged[min(found.damaged)]}; mend it, or leave it out with --skip-damaged")
    for note in found.notes:
        say(f"note: {note}")
    for name in chain([first], names):
        path = home.dataset_path(name)
        try:
            with locked(path, f"another process is importing {path.name}; choose another --name"):
                if os.path.lexists(path):
                    raise TakenError(f"the dataset {name!r} has come there meanwhile; choose another --name")
                remove_stale_parts(path)
                for note in home.half_done_notes():
                    say(note)
                finished = _imported(path, request, found, workers, say, progress)
        except TakenError:
            if request.name:
                raise
            continue  # by another import that began at the same time
        break
    dataset = open_dataset(path, name)
    try:
        require_usable(dataset, say)
    except LewmError as error:  # it is whole all the same, and its actions may come from elsewhere
        say(f"note: {error}")
    return dataset, finished


def _surveyed(request: ImportRequest, say: Say, progress: Progress, *, download: bool) -> Survey:
    typed, asked, path = request.source, request.asked, Path(os.path.expanduser(request.source))
    if not os.path.exists(path):
        if not HUB_ID.fullmatch(typed):
            raise MissingError(f"there is no file or folder {typed}; check the path")
        from lewm_cli.fetch.hub_dataset import hub_dataset  # late: most imports ask no network

        path = hub_dataset(typed, lambda folder: lerobot_files(folder, typed, asked), say, progress, download=download)
    source = open_source(path, typed, asked)
    with progress(f"looking at {source.name}", len(source.episodes), "episodes") as advance:
        return survey(source, request.frames, advance)


def _imported(
    path: Path, request: ImportRequest, found: Survey, workers: int, say: Say, progress: Progress
) -> Finished:
    source, folder = found.source, half_done(path, "import")
    conversion = Conversion(found, request.asked, folder, request.skip_damaged)
    again = f"the same command goes on from there (in {folder})"
    bytes_in_all = sum(file.stat().st_size for file in source.files)
    with stopped_with(lambda: f"stopped; what is imported so far is kept, and {again}"), StopRequest() as stop:
        with progress(f"reading {source.name} for its digest", bytes_in_all // MEGABYTE, "MB") as advance:
            left = conversion.left(_megabytes(advance), stop.check, say)
        _refuse_without_room(found, len(left), workers, path)
        if left:
            say(f"going on at episode {len(left):,} of {len(source.episodes):,}")
        frames = int(found.frames[len(left) :].sum())
        workers = max(1, min(workers, frames // WORTH_A_PROCESS))
        with progress(f"importing {source.name}", frames, "frames") as advance:
            finished = conversion.write(left, workers, advance, stop.check)
        with explained(path):
            sync(conversion.path)
            os.replace(conversion.path, path)
            sync(path.parent)
    conversion.forget()
    return finished


def _free_names(home: Home, request: ImportRequest) -> Iterator[str]:
    return home.free_names(_usual_name(request.source), "dataset")


def _refuse_taken(home: Home, name: str) -> None:
    """Raises an error if a name cannot be that of a new recording; half an import that was done goes."""
    path = home.new_dataset_path(name)
    if home.dataset_file(name):
        if path.exists():
            shutil.rmtree(half_done(path, "import"), ignore_errors=True)  # of a call that was killed at its end
        raise LewmError(f"the dataset {name!r} exists and recordings are never overwritten; choose another --name")


def _usual_name(typed: str) -> str:
    """A name like that of the source: a Hub id itself, else what the file or folder is called."""
    path = Path(os.path.realpath(os.path.expanduser(typed)))
    if HUB_ID.fullmatch(typed) and not path.exists():
        return typed
    stem = re.sub(r"[^\w.+-]+", "-", path.name if path.is_dir() else path.stem).strip(".-")
    return stem if is_name(stem) and stem not in RELEASED else f"{stem}-imported".lstrip("-")


def _megabytes(advance: Callable[[int], None]) -> Callable[[int], None]:
    """Counts bytes, and tells whole megabytes."""
    left = 0

    def count(read: int) -> None:
        nonlocal left
        whole, left = divmod(left + read, MEGABYTE)
        if whole:
            advance(whole)

    return count


def _refuse_without_room(found: Survey, left: int, workers: int, path: Path) -> None:
    """Raises LewmError if the disk has no room for what is missing, and for the episodes that are under way."""
    frames = found.frames[left:]
    if not len(frames):
        return
    under_way = frames.max() * min(len(frames), (IN_FLIGHT + 1) * workers)
    missing, free = int(found.frame_bytes * (frames.sum() + under_way)), free_bytes(path.parent)
    if missing > free:
        raise LewmError(
            f"importing {found.source.name} needs about {gigabytes(missing)} under {path.parent}, and "
            f"{gigabytes(free)} are free; free some space, or choose another disk with --home"
        )
