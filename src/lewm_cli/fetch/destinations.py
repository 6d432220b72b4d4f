"""Plans where targets go in the home, and keeps the hidden folder beside each in which a fetch comes together."""

import os
import shutil
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lewm_cli.data import open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.fetch.archive_checks import gigabytes
from lewm_cli.fetch.target import Target
from lewm_cli.files import exchanged, locked, sync
from lewm_cli.store import Home
from lewm_cli.store.origin import IN_FOLDER, Origin, dataset_origin, run_origin
from lewm_cli.suggestion import command
from lewm_cli.system_errors import explained


@dataclass(frozen=True)
class PlannedFetch:
    """A target and its place in the home."""

    target: Target
    path: Path  # where it goes, or lies
    there: bool  # it lies there already, and stays
    replaces: bool = False  # a recording that lies there may be replaced
    origin: Origin | None = None  # where what lies there, or is fetched again, came from; None if lewm did not fetch it


def plan_fetch(home: Home, targets: Sequence[Target], *, force: bool) -> tuple[PlannedFetch, ...]:
    """Plans where targets go, and which are there; with `force`, what is there is fetched again.

    Raises:
        LewmError: a run of the user's own stands under the name, or something there cannot be read.
    """
    plans = {"dataset": _plan_dataset, "model": _plan_weights}
    return tuple(plans[target.kind](home, target, force) for target in targets)


def _plan_dataset(home: Home, target: Target, force: bool) -> PlannedFetch:
    lying = home.dataset_file(target.name)
    if lying is None or force:
        # Elsewhere in the same home, the old one would go on to be found first.
        over = lying if lying and lying.is_relative_to(home.write) else home.dataset_path(target.name)
        return PlannedFetch(target, over, there=False, replaces=force)
    try:
        open_dataset(lying, target.name)
    except LewmError as error:
        raise LewmError(f"{error}; --force fetches it again") from error
    return PlannedFetch(target, lying, there=True, origin=Origin.read(dataset_origin(lying)))


def _plan_weights(home: Home, target: Target, force: bool) -> PlannedFetch:
    name, path = target.name, home.new_run_stem(target.name)
    if above := home.run_above(name):
        raise LewmError(
            f"{name} would need a folder named like the run {above!r}; take that away with: {command('rm', above)}"
        )
    lying = next((run for run in home.runs() if run.name == name), None)
    if lying is None or (force and not lying.files.weights.is_relative_to(home.write)):
        # Of a home that is only read; what goes into the other one is found before it.
        if path.exists():
            raise LewmError(f"{path} is a folder without weights; take it away, so that {name} can go there")
        return PlannedFetch(target, path, there=False)
    folder, noted = lying.files.within, run_origin(lying.files)
    origin = Origin.read(noted) if noted else None
    if not force:
        return PlannedFetch(target, folder or lying.files.weights, there=True, origin=origin)
    if origin is None or folder is None:
        raise LewmError(
            f"{lying.files.weights} was not put there by lewm fetch, so it is not replaced; "
            f"take it away first: {command('rm', name)}"
        )
    others = sorted({path.name for path in folder.iterdir()} - {IN_FOLDER, *(file.name for file in origin.files)})
    if others:
        raise LewmError(f"{folder} holds other files too ({others[0]!r}), so it is not replaced; move them elsewhere")
    return PlannedFetch(target, folder, there=False, origin=origin)


def check_space(missing: Sequence[PlannedFetch], unpacked_from_here: Container[PlannedFetch], *, keep: bool) -> None:
    """Refuses what is known not to fit, if it is fetched in this order.

    An archive, unless it is here already, and what comes out of it lie side by side until it goes, if it is not kept.
    """
    stays = peak = 0
    for one in missing:
        stage, size = _stage(one.path), one.target.size or 0
        downloaded = _bytes([*stage.glob("*"), *stage.glob("files/*")])
        archive = 0 if one in unpacked_from_here else max(0, size - downloaded)
        # What a fetch left that was killed while it unpacked goes before anything else comes.
        unpacked = max(0, (one.target.unpacked or 0) - _bytes((stage / "unpacked").rglob("*")))
        peak = max(peak, stays + archive + unpacked)
        stays += unpacked + (archive if keep or one.target.kind == "model" else 0)
    if not missing:
        return
    folder, free = missing[0].path.parent, free_bytes(missing[0].path.parent)
    if peak > free:
        names = " and ".join(one.target.name for one in missing)
        raise LewmError(
            f"fetching {names} needs {gigabytes(peak)} under {folder}, and {gigabytes(free)} are free; "
            "free some space, or choose another disk with --home"
        )


def free_bytes(folder: Path) -> int:
    """Returns the free bytes of the disk that a folder is, or would be, on."""
    return shutil.disk_usage(next(parent for parent in (folder, *folder.parents) if parent.exists())).free


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yields the folder, with what an earlier fetch left in it, under a lock; it goes once all went well."""
    with locked(target, f"another process is fetching {target.name}; wait for its end"):
        folder = _stage(target)
        with explained(target):
            folder.mkdir(parents=True, exist_ok=True)
            _mark(target).unlink(missing_ok=True)
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


def _stage(target: Path) -> Path:
    # Hidden, so that nothing half-done is listed or read.
    return target.with_name(f".fetching-{target.name}")


def _mark(target: Path) -> Path:
    """Names a file that is there from shortly before the last rename until everything else is gone."""
    return target.with_name(f".fetched-{target.name}")


def _clear(target: Path) -> None:
    shutil.rmtree(_stage(target), ignore_errors=True)
    _mark(target).unlink(missing_ok=True)


def _bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())
