"""Tries the places that are written: homes, free space, shared memory, compressed files."""

import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
from rich.filesize import decimal

from lewm_cli.doctor.finding import Finding, State
from lewm_cli.store import Home

LITTLE_SPACE = 20e9
"""Bytes: the small task fits many times, but the largest released recording unpacks to 46 GB."""

LITTLE_SHARED_MEMORY = 1e9
"""Bytes: an episode under way takes 14 MB, and batches of training frames pass through it too."""

SHARED_MEMORY = Path("/dev/shm")


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


@dataclass(frozen=True, kw_only=True)
class SpaceFinding(Finding):
    """A file system: its size and what of it is free."""

    total_bytes: int
    free_bytes: int


def homes(option: Path | None) -> Iterator[FolderFinding]:
    """Look at every folder that is searched, the one that takes the writes first; `option` is that of `--home`."""
    home = Home.locate(option)
    for folder in home.read:
        yield _home(folder, takes_writes=folder == home.write, advice=_elsewhere(folder, option))


def shared_memory() -> Iterator[SpaceFinding]:
    """Look at the memory that processes share on Linux; containers often get 64 MB of it."""
    if not SHARED_MEMORY.is_dir():
        return
    usage = shutil.disk_usage(SHARED_MEMORY)
    little = usage.free < LITTLE_SHARED_MEMORY
    yield SpaceFinding(
        name=str(SHARED_MEMORY),
        state=State.WARNING if little else State.OK,
        says=f"{decimal(usage.total)}, {decimal(usage.free)} free" + (": little for several workers" if little else ""),
        advice="mount -o remount,size=8G /dev/shm (docker run --shm-size=8g), or --workers 1" if little else None,
        total_bytes=usage.total,
        free_bytes=usage.free,
    )


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
    ground = next(parent for parent in (folder, *folder.parents) if os.path.lexists(parent))
    exists = ground == folder
    problem = _unreadable(ground) if exists else None
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
            os.fsync(file.fileno())
    except NotADirectoryError:
        return f"{folder} is a file, not a folder"
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"
    return None
