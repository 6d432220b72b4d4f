"""Tries the places that are written: homes, their file system, free space, shared memory, compressed files."""

import errno
import fcntl
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
from rich.filesize import decimal

from lewm_cli.doctor.finding import Finding, State
from lewm_cli.files import exchanged, sync
from lewm_cli.store import Home
from lewm_cli.suggestion import quote
from lewm_cli.system_errors import in_the_way

LITTLE_SPACE = 20e9
"""Bytes: the small task fits many times, but the largest released recording unpacks to 46 GB."""


@dataclass(frozen=True, kw_only=True)
class FolderFinding(Finding):
    """A home.

    Args:
        takes_writes: whether new files go here; the others are only read.
        exists: whether it is there; the first command that writes makes it.
        writable: whether a file could be written, or the folder be made.
        layout: "flat", or "nested" with datasets/ and checkpoints/.
        datasets, runs: numbers of recordings and trained models in it.
        free_bytes: on its disk.
    """

    path: str
    takes_writes: bool
    exists: bool
    writable: bool
    layout: str
    datasets: int
    runs: int
    free_bytes: int


def homes(option: Path | None) -> Iterator[FolderFinding]:
    """Look at every folder that is searched, the one that takes the writes first; `option` is that of `--home`."""
    home = Home.locate(option)
    for folder in home.read:
        yield _home(folder, takes_writes=folder == home.write, advice=_elsewhere(folder, option))


def half_copies(option: Path | None) -> Iterator[Finding]:
    """Name what packs and imports that were stopped have left."""
    for name, half in Home.locate(option).half_done():
        says = f"{decimal(sum(file.stat().st_size for file in half.iterdir()))} of a lewm {name} that was stopped"
        advice = f"rm -r {quote(str(half))} (or the same lewm {name}, which goes on with it)"
        yield Finding(name="half a copy", state=State.WARNING, says=says, advice=advice)


def shared_memory() -> Iterator[Finding]:
    """Try the memory in which worker processes hand arrays over."""
    try:
        os.close(os.memfd_create("lewm-doctor"))
    except (AttributeError, OSError):
        state, says = State.NONE, "arrays go from process to process through pipes, which takes longer"
    else:
        state, says = State.OK, "works; the size of /dev/shm does not matter"
    yield Finding(name="shared memory", state=state, says=says)


def file_system(option: Path | None) -> Iterator[Finding]:
    """Try what else a file system should do, where new files go; nothing if it cannot be written at all."""
    home = Home.locate(option).write
    ground = _ground(home)
    if _unwritable(ground):
        return
    lacking = False
    with tempfile.TemporaryDirectory(dir=ground, prefix=".lewm-doctor-", ignore_cleanup_errors=True) as folder:
        for service in SERVICES:
            try:
                service.attempt(Path(folder))
            except OSError as error:
                lacking = True
                yield Finding(
                    name=service.name,
                    state=service.without,
                    says=f"not under {ground} ({error.strerror}): {service.follows}",
                    advice=_elsewhere(home, option) if service.without is State.BROKEN else service.advice,
                )
    if not lacking:
        names = ", ".join(service.name for service in SERVICES)
        yield Finding(name="file system", state=State.OK, says=f"has all of: {names}")


@dataclass(frozen=True)
class _Service:
    """Something that file systems do, mostly: the state without it, and what follows then."""

    name: str
    attempt: Callable[[Path], object]
    without: State
    follows: str
    advice: str | None = None


def _lock(folder: Path) -> None:
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_file(folder: Path) -> None:
    (folder / "flushed").write_bytes(bytes(4096))
    _flush(folder / "flushed")


def _replace(folder: Path) -> None:
    for name in ("old", "new"):
        (folder / name).write_text(name)
    (folder / "new").replace(folder / "old")


def _exchange(folder: Path) -> None:
    for name in ("first", "second"):
        (folder / name).mkdir()
    if not exchanged(folder / "first", folder / "second"):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


def _permit(folder: Path) -> None:
    (folder / "mine").touch()
    (folder / "mine").chmod(0o600)


SERVICES = (
    _Service(
        "locks",
        _lock,
        State.WARNING,
        "jobs under one name are kept apart by a file, which one that is killed on another machine leaves behind",
        "export HDF5_USE_FILE_LOCKING=FALSE",
    ),
    _Service("fsync", _flush_file, State.WARNING, "a power failure may take what was written last"),
    _Service("fsync of folders", _flush, State.NONE, "a power failure may take the names of new files"),
    _Service("rename over a file", _replace, State.BROKEN, "no file can be replaced"),
    _Service("exchange of folders", _exchange, State.NONE, "a folder is replaced in two steps"),
    _Service("permissions", _permit, State.NONE, "files have those that the disk is mounted with"),
)
"""The services of a file system that are tried."""


def compression() -> Iterator[Finding]:
    """Write and read a dataset with the filter that recordings are compressed with."""
    name, advice = "HDF5 Blosc filter", "pip install --force-reinstall h5py hdf5plugin"
    values = np.arange(4096, dtype=np.uint8).reshape(64, 64)
    memory = io.BytesIO()
    try:
        with h5py.File(memory, "w") as file:
            file.create_dataset("values", data=values, chunks=(16, 64), **hdf5plugin.Blosc(cname="lz4"))
        with h5py.File(memory, "r") as file:
            if not np.array_equal(file["values"][:], values):
                raise ValueError("what was written is not what is read")
    except Exception as error:  # damaged libraries fail in any way, and that is the question
        yield Finding(name=name, state=State.BROKEN, says=f"fails: {error}", advice=advice)
    else:
        yield Finding(name=name, state=State.OK, says="works")


def _home(folder: Path, *, takes_writes: bool, advice: str) -> FolderFinding:
    inside = Home(write=folder, read=(folder,))
    ground = _ground(folder)
    exists = ground == folder
    problem = _unreadable(ground) if exists else in_the_way(folder)
    unwritable = problem or _unwritable(ground)
    datasets, runs = len(list(inside.dataset_files())), len(list(inside.run_files()))
    free = shutil.disk_usage(ground).free
    layout = "flat" if inside.dataset_path("any").parent == folder else "nested"
    contents = f"{layout}, datasets: {datasets}, runs: {runs}" if exists else "will be made"

    if takes_writes and unwritable:
        state, says = State.BROKEN, unwritable if exists else f"cannot be made: {unwritable}"
    elif problem:
        state, says = State.WARNING, problem
    elif takes_writes:
        little = free < LITTLE_SPACE
        state = State.WARNING if little else State.OK
        says = f"{contents}, {decimal(free)} free" + (", too little for the largest recordings" if little else "")
    else:
        state, says = State.OK if exists else State.NONE, contents if exists else "not there"
    return FolderFinding(
        name="home" if takes_writes else "home, only read",
        state=state,
        says=f"{folder}: {says}",
        advice=advice if state in (State.BROKEN, State.WARNING) else None,
        path=str(folder),
        takes_writes=takes_writes,
        exists=exists,
        writable=not unwritable,
        layout=layout,
        datasets=datasets,
        runs=runs,
        free_bytes=free,
    )


def _ground(folder: Path) -> Path:
    """The folder, or the one that it would be made in."""
    return next(parent for parent in (folder, *folder.parents) if os.path.exists(parent))


def _elsewhere(folder: Path, option: Path | None) -> str:
    """The command that chooses another folder than this one: the way it was chosen, unless it can still be read."""
    if option is not None and option.expanduser().absolute() == folder:
        return "lewm doctor --home FOLDER"
    write_home = os.environ.get("LEWM_WRITE_HOME")
    if folder.is_dir() or (write_home and Path(write_home).expanduser().absolute() == folder):
        return "export LEWM_WRITE_HOME=FOLDER"
    return "export STABLEWM_HOME=FOLDER"


def _unreadable(path: Path) -> str | None:
    try:
        os.listdir(path)
    except NotADirectoryError:
        return "is a file, not a folder"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def _unwritable(folder: Path) -> str | None:
    # Asking for permissions is not enough: disks are full, quotas used up, file systems read-only.
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".lewm-doctor-") as file:
            file.write(bytes(4096))
            file.flush()
            sync(Path(file.name))
    except NotADirectoryError:
        return f"{folder} is a file, not a folder"
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"
    return None
