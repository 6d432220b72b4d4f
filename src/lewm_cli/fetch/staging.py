"""Keeps the hidden folder beside a target in which a fetch comes together; it outlives any interruption."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lewm_cli.errors import LewmError
from lewm_cli.files import exchanged, explained, full_disk_explained, locked, sync


def stage_folder(target: Path) -> Path:
    """Returns where `target` comes together; hidden, so that nothing half-done is listed or read."""
    return target.with_name(f".fetching-{target.name}")


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yields the folder, with what an earlier fetch left in it, under a lock; it goes once all went well.

    Raises:
        LewmError: another process fetches the same, or nothing can be written there.
    """
    with locked(target, f"another process is fetching {target.name}; wait for its end"):
        folder = stage_folder(target)
        with explained(target):
            folder.mkdir(parents=True, exist_ok=True)
            _mark(target).unlink(missing_ok=True)
        with full_disk_explained(target):
            yield folder
        _clear(target)


def clear_finished(target: Path) -> None:
    """Removes what a fetch left that was killed after its last rename: nobody would go on with it."""
    with suppress(LewmError):  # another process is at it, or this home is only read
        if _mark(target).exists():
            with locked(target, f"another process is fetching {target.name}"):
                if _mark(target).exists():
                    _clear(target)


def emptied(folder: Path) -> Path:
    """Empties a folder, whatever an earlier attempt left there, and returns it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def put(source: Path, target: Path) -> None:
    """Renames a file into place, durably, over one that is there."""
    with explained(target):
        os.replace(source, target)
        sync(target.parent)


def put_last(source: Path, target: Path) -> None:
    """Renames what was fetched into place, durably; a folder that is there goes to where `source` was, or beside it."""
    with explained(target):
        _mark(target).touch()
        folder = source.is_dir() and target.is_dir()
        if not (folder and exchanged(source, target)):
            if folder:
                os.rename(target, emptied(source.parent / "before") / target.name)
            os.replace(source, target)
        sync(target.parent)


def free_bytes(folder: Path) -> int:
    """Returns the free bytes of the disk that a folder is, or would be, on."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return shutil.disk_usage(there).free


def downloaded_before(target: Path) -> int:
    """Counts the bytes of what becomes `target` that an earlier fetch has downloaded."""
    folder = stage_folder(target)
    return _bytes([*folder.glob("*"), *folder.glob(".*"), *folder.glob("files/*"), *folder.glob("files/.*")])


def unpacked_before(target: Path) -> int:
    """Counts the bytes that a fetch, killed while it unpacked, has left; they go before anything else comes."""
    return _bytes((stage_folder(target) / "unpacked").rglob("*"))


def _mark(target: Path) -> Path:
    """Names a file that is there from shortly before the last rename until everything else is gone."""
    return target.with_name(f".fetched-{target.name}")


def _clear(target: Path) -> None:
    shutil.rmtree(stage_folder(target), ignore_errors=True)
    _mark(target).unlink(missing_ok=True)


def _bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())
