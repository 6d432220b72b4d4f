"""Plans where each target goes in the home, what is there already, and that the rest fits; asks no network."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from lewm_cli.data import open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.fetch.archive_errors import gigabytes
from lewm_cli.fetch.staging import downloaded_before, free_bytes, unpacked_before
from lewm_cli.fetch.target import Target
from lewm_cli.store import Home
from lewm_cli.store.origin import IN_FOLDER, Origin, dataset_origin, run_origin


@dataclass(frozen=True)
class PlannedFetch:
    """A target and its place in the home.

    Args:
        target: what it is, and where it is published.
        path: where it goes, or lies.
        there: it lies there already, and stays.
        replaces: what lies there may be replaced.
        origin: where what lies there came from; None if lewm did not fetch it.
    """

    target: Target
    path: Path
    there: bool
    replaces: bool = False
    origin: Origin | None = None


def plan_fetch(home: Home, targets: Sequence[Target], *, force: bool) -> tuple[PlannedFetch, ...]:
    """Plans where targets go, and which are there.

    Args:
        home: where they go.
        targets: what is asked for.
        force: fetch again what is there.

    Raises:
        LewmError: a run of the user's own stands under the name, or something there cannot be read.
    """
    return tuple(
        _plan_dataset(home, target, force=force)
        if target.kind == "dataset"
        else _plan_weights(home, target, force=force)
        for target in targets
    )


def check_space(missing: Sequence[PlannedFetch], unpacked_from_here: Container[PlannedFetch], *, keep: bool) -> None:
    """Refuses what would not fit: an archive and what comes out of it lie side by side until it goes.

    Args:
        missing: what is to be fetched, in this order.
        unpacked_from_here: the archive of it is here already.
        keep: archives stay.

    Raises:
        LewmError: less is free than is known to be needed.
    """
    stays = peak = 0
    for one in missing:
        size = one.target.size or 0
        archive = 0 if one in unpacked_from_here else max(0, size - downloaded_before(one.path))
        unpacked = max(0, (one.target.unpacked or 0) - unpacked_before(one.path))
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


def _plan_dataset(home: Home, target: Target, *, force: bool) -> PlannedFetch:
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


def _plan_weights(home: Home, target: Target, *, force: bool) -> PlannedFetch:
    name, path = target.name, home.new_run_stem(target.name)
    above = home.run_above(name)
    if above:
        raise LewmError(f"{name} would need a folder named like the run {above!r}; take that away with lewm rm {above}")
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
            f"take it away first: lewm rm {name}"
        )
    fetched = {IN_FOLDER, *(file.name for file in origin.files)}
    others = sorted({path.name for path in folder.iterdir()} - fetched)
    if others:
        raise LewmError(f"{folder} holds other files too ({others[0]!r}), so it is not replaced; move them elsewhere")
    return PlannedFetch(target, folder, there=False, replaces=True)
