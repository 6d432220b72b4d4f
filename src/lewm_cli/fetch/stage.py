"""The hidden folder beside a target in which a fetch comes together; it outlives any interruption."""

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from lewm_cli.errors import LewmError
from lewm_cli.fetch.watching import Begin
from lewm_cli.files import explained, locked, sync


class ByteProgress(Protocol):
    """Shows how a stage of many bytes gets on."""

    def __call__(self, label: str) -> AbstractContextManager[Begin]:
        """Enter a stage."""
        ...


def stage_folder(target: Path) -> Path:
    """Where what becomes `target` comes together; hidden, so that nothing half-done is listed or read."""
    return target.with_name(f".fetching-{target.name}")


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield the folder, with what an earlier fetch left in it, under a lock; it goes once all went well.

    Raises:
        LewmError: another process fetches the same, or nothing can be written there.
    """
    with locked(target, f"another process is fetching {target.name}; wait for its end"):
        folder = stage_folder(target)
        with explained(target):
            folder.mkdir(parents=True, exist_ok=True)
        yield folder
        shutil.rmtree(folder)


def emptied(folder: Path) -> Path:
    """A folder with nothing in it, whatever an earlier attempt left there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def put(source: Path, target: Path) -> None:
    """Rename into place, durably; over a file that is there, but never over a folder with anything in it."""
    with explained(target):
        os.replace(source, target)
        sync(target.parent)


def check_disk(folder: Path, needed: int, what: str) -> None:
    """Refuse before the first byte what would not fit.

    Args:
        folder: where it would go; it need not be there yet.
        needed: bytes.
        what: it is for, in words.

    Raises:
        LewmError: less is free.
    """
    free = free_bytes(folder)
    if needed > free:
        raise LewmError(
            f"{what} needs {needed / 1e9:,.1f} GB under {folder}, and {free / 1e9:,.1f} GB are free; free some space, "
            "or choose another disk with --home"
        )


def free_bytes(folder: Path) -> int:
    """What is free on the disk that a folder is, or would be, on."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return shutil.disk_usage(there).free


def partly_there(target: Path) -> int:
    """Bytes of what becomes `target` that an earlier fetch has downloaded."""
    folder = stage_folder(target)
    paths = [*folder.glob("*"), *folder.glob(".*"), *folder.glob("files/*"), *folder.glob("files/.*")]
    return sum(path.stat().st_size for path in paths if path.is_file())
