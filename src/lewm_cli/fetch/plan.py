"""What is asked for, what of it is there, and whether the rest fits: settled without a network."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from lewm_cli.data import open_dataset
from lewm_cli.errors import LewmError
from lewm_cli.fetch.stage import check_disk, downloaded_before, unpacked_before
from lewm_cli.fetch.wanted import FetchRequest, Wanted, what_is_wanted
from lewm_cli.store import Home
from lewm_cli.store.origin import IN_FOLDER, Origin, dataset_origin, run_origin


@dataclass(frozen=True)
class PlannedFetch:
    """One thing that is asked for.

    Args:
        wanted: what it is, and where it is published.
        target: where it goes, or lies.
        there: whether it lies there already, and stays.
        origin: where what lies there came from; None if lewm did not fetch it.
    """

    wanted: Wanted
    target: Path
    there: bool
    origin: Origin | None = None


def plan_fetch(home: Home, request: FetchRequest) -> tuple[PlannedFetch, ...]:
    """What a request asks for, and what of it is there.

    Raises:
        UsageError: a name or an address that can mean nothing, or two things.
        MissingError: nothing of this name is published.
        LewmError: a run of the user's own stands under the name, or something there cannot be read.
    """
    return tuple(
        _plan_dataset(home, wanted, force=request.force)
        if wanted.kind == "dataset"
        else _plan_weights(home, wanted, force=request.force)
        for wanted in what_is_wanted(request)
    )


def check_space(missing: Sequence[PlannedFetch], unpacked_from_here: Container[PlannedFetch], *, keep: bool) -> None:
    """Refuse what would not fit: an archive and what comes out of it lie side by side until it goes.

    Args:
        missing: what is to be fetched, in this order.
        unpacked_from_here: the archive of it is here already.
        keep: archives stay.

    Raises:
        LewmError: less is free than is known to be needed.
    """
    stays = peak = 0
    for one in missing:
        size = one.wanted.size or 0
        archive = 0 if one in unpacked_from_here else max(0, size - downloaded_before(one.target))
        unpacked = max(0, (one.wanted.unpacked or 0) - unpacked_before(one.target))
        peak = max(peak, stays + archive + unpacked)
        stays += unpacked + (archive if keep or one.wanted.kind == "model" else 0)
    if missing:
        check_disk(missing[0].target.parent, peak, " and ".join(one.wanted.name for one in missing))


def _plan_dataset(home: Home, wanted: Wanted, *, force: bool) -> PlannedFetch:
    lying = home.dataset_file(wanted.name)
    if lying is None or force:
        # Elsewhere in the same home, the old one would go on to be found first.
        over = lying if lying and lying.is_relative_to(home.write) else home.dataset_path(wanted.name)
        return PlannedFetch(wanted, over, there=False)
    try:
        open_dataset(lying, wanted.name)
    except LewmError as error:
        raise LewmError(f"{error}; --force fetches it again") from error
    return PlannedFetch(wanted, lying, there=True, origin=Origin.read(dataset_origin(lying)))


def _plan_weights(home: Home, wanted: Wanted, *, force: bool) -> PlannedFetch:
    name, target = wanted.name, home.new_run_stem(wanted.name)
    above = home.run_above(name)
    if above:
        raise LewmError(f"{name} would need a folder named like the run {above!r}; take that away with lewm rm {above}")
    lying = next((run for run in home.runs() if run.name == name), None)
    if lying is None:
        return PlannedFetch(wanted, _untaken(name, target), there=False)
    folder, noted = lying.files.within, run_origin(lying.files)
    origin = Origin.read(noted) if noted else None
    if not force:
        return PlannedFetch(wanted, folder or lying.files.weights, there=True, origin=origin)
    if not lying.files.weights.is_relative_to(home.write):  # a home that is only read: ours is found before it
        return PlannedFetch(wanted, _untaken(name, target), there=False)
    if origin is None or folder is None:
        raise LewmError(
            f"{lying.files.weights} was not put there by lewm fetch, so it is not replaced; "
            f"take it away first: lewm rm {name}"
        )
    fetched = {IN_FOLDER, *(file.name for file in origin.files)}
    others = sorted({path.name for path in folder.iterdir()} - fetched)
    if others:
        raise LewmError(f"{folder} holds other files too ({others[0]!r}), so it is not replaced; move them elsewhere")
    return PlannedFetch(wanted, folder, there=False)


def _untaken(name: str, target: Path) -> Path:
    if target.exists():
        raise LewmError(f"{target} is a folder without weights; take it away, so that {name} can go there")
    return target
