"""Packs a recording: decides where the copy goes, looks at the disk, and puts it in place once it has been compared."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from lewm_cli.data import Codec, Dataset, HDF5Dataset, PackedCopy, PackedRecording, Packing, open_dataset, packing_of
from lewm_cli.data.frame_writer import USUAL
from lewm_cli.errors import LewmError, TakenError, UsageError
from lewm_cli.fetch.archive_checks import gigabytes
from lewm_cli.fetch.destinations import free_bytes
from lewm_cli.files import locked, remove_stale_parts, sync, try_writing
from lewm_cli.flows import Progress, stopped_with
from lewm_cli.stop import StopRequest
from lewm_cli.store import Home, Say, dataset_task, weights_digest
from lewm_cli.store.home import half_done
from lewm_cli.store.origin import FetchedFile, Origin, dataset_origin
from lewm_cli.suggestion import command
from lewm_cli.system_errors import explained
from lewm_cli.tasks import GENERIC

FASTER = 3
"""Times as many packed frames are read at random, measured against released chunks on four tasks."""


@dataclass(frozen=True)
class _Plan:
    """A copy to make: of what, in which way, and where it goes."""

    dataset: HDF5Dataset
    packing: Packing
    name: str
    path: Path
    replace: bool

    @property
    def folder(self) -> Path:
        """The hidden folder in which the copy comes together."""
        return half_done(self.path, "pack")

    def result(self, before: int, *, there: bool = False) -> PackedRecording:
        """The packed recording, which is in place."""
        return PackedRecording(
            self.name,
            self.path,
            self.packing,
            dataset_task(self.dataset).name,
            len(self.dataset.actions),
            self.dataset.name,
            self.path.stat().st_size,
            before,
            there,
        )


def pack(
    home: Home,
    what: str,
    *,
    workers: int,
    say: Say,
    progress: Progress,
    size: int | None = None,
    codec: Codec | None = None,
    name: str | None = None,
    replace: bool = False,
) -> PackedRecording:
    """Pack a recording; what an earlier call left half done is gone on with.

    Args:
        what: name or path of a recording.
        size: side of its frames in pixels; as they are if not given.
        name: of the copy; `<name>-packed` if not given.
        replace: put the copy in the place of the recording.

    Raises:
        UsageError: options that exclude each other, or a name that cannot be had.
        LewmError: there is no such recording, it is damaged or changes meanwhile, or the disk has no room.
        StoppedError: Ctrl-C or SIGTERM; what was packed is kept.
    """
    plan = _planned(home, what, say, size=size, codec=codec, name=name, replace=replace)
    before = plan.dataset.path.stat().st_size
    with locked(plan.path, f"another process is packing {plan.path.name}; wait for its end"):
        remove_stale_parts(plan.path)  # of a pack that was killed
        if _is_there(plan):
            shutil.rmtree(plan.folder, ignore_errors=True)  # of a call that was killed at its end
            say(f"{plan.name} is there already, packed ({plan.packing}); nothing was done")
            return plan.result(before, there=True)
        for note in home.half_done_notes():
            say(note)
        try_writing(plan.path)
        task = dataset_task(plan.dataset)
        named = None if task is GENERIC else task.name
        copy = PackedCopy(plan.dataset, plan.packing.codec, plan.packing.size, plan.folder, named)
        _make(plan, copy, workers, say, progress)
        with explained(plan.path):
            if plan.path.exists() and not plan.replace:
                raise TakenError(f"{plan.path} has come there meanwhile; choose another --name")
            sync(copy.path)  # whole on the disk before the recording goes
            noted = dataset_origin(plan.path)
            known = Origin.read(noted) if plan.replace else None
            origin = known and _origin_of_copy(known, plan.path, copy.path)
            if origin:
                origin.replacing(known).write(noted)
            os.replace(copy.path, plan.path)
            sync(plan.path.parent)
            if origin:
                origin.write(noted)
        copy.forget()
    return plan.result(before)


def packing_advice(dataset: Dataset, device: str) -> str | None:
    """Says in one line what packing would bring where frames are read all the time for this kind of device; or None."""
    if device != "cuda" or not isinstance(dataset, HDF5Dataset) or packing_of(dataset):
        return None
    with dataset.opened() as file:
        chunk = (dataset.stored(file, "pixels").chunks or (1,))[0]
    how = f"{chunk} in a chunk" if chunk > 1 else "not packed one by one"
    return (
        f"note: the frames of {dataset.name} are {how}, and the GPU may wait for them; packed, they are read at random "
        f"about {FASTER} times as fast: {command('pack', dataset.name, '--replace')}"
    )


def _planned(
    home: Home, what: str, say: Say, *, size: int | None, codec: Codec | None, name: str | None, replace: bool
) -> _Plan:
    if replace and name:
        raise UsageError("--replace keeps the name of the recording, so leave out --name")
    dataset = home.find_dataset(what, say)
    assert isinstance(dataset, HDF5Dataset), "a home holds no others"
    own = dataset.pixels.size
    size = size or own
    if size > own:
        raise UsageError(f"the frames of {dataset.name} have {own} pixels a side; --size can only make them smaller")
    if replace and size != own:
        raise UsageError(f"--replace would lose the frames of {own} pixels; leave out --size, or --replace")
    now = packing_of(dataset)
    codec = codec or (now.codec if now else USUAL)
    packing = Packing(codec, size, dataset.identity.fingerprint, dataset.path.stem)
    if replace:
        if dataset.path.is_symlink():
            raise LewmError(
                f"{dataset.path} is a link to {dataset.path.readlink()}, so it is not replaced; leave out --replace"
            )
        return _Plan(dataset, packing, dataset.name, dataset.path, replace)
    if now and (now.codec, now.size) == (codec, size):
        raise LewmError(
            f"{dataset.name} is packed already ({now}), so a copy would be the same; --codec or --size make another one"
        )
    stem = dataset.path.stem if dataset.name == str(dataset.path) else dataset.name
    name = name or f"{stem}-packed" + (f"-{size}" if size != own else "")
    path = home.new_dataset_path(name)
    return _Plan(dataset, packing, name, home.dataset_file(name) or path, replace)


def _is_there(plan: _Plan) -> bool:
    """Tell whether the copy is in place; raises TakenError if something else is."""
    if not os.path.lexists(plan.path):
        return False
    if plan.replace:
        there = packing_of(plan.dataset)
        return there is not None and there.codec is plan.packing.codec
    try:
        there = packing_of(open_dataset(plan.path, plan.name))
    except LewmError:
        there = None
    if there != plan.packing:
        raise TakenError(f"the dataset {plan.name!r} exists and is no such copy; choose another --name")
    return True


def _make(plan: _Plan, copy: PackedCopy, workers: int, say: Say, progress: Progress) -> None:
    again = f"the same command goes on from there (in {plan.folder})"
    left = copy.left(say)
    expected = copy.expected_bytes()
    missing = expected * (1 - len(left) / copy.rows)
    free = free_bytes(plan.path.parent)
    if missing > free:
        if not len(left):
            copy.forget()
        raise LewmError(
            f"packing {plan.dataset.name} needs about {gigabytes(int(missing))} under {plan.path.parent}, and "
            f"{gigabytes(free)} are free; free some space, or choose another disk with --home"
        )
    if len(left):
        say(f"going on at frame {len(left):,} of {copy.rows:,}")
    with stopped_with(lambda: f"stopped; what is packed so far is kept, and {again}"), StopRequest() as stop:
        label = f"packing {plan.dataset.name}"
        with progress(label, copy.rows - len(left), "frames") as advance:
            copy.write(left, workers, advance, stop.check)
        with progress("comparing with the recording", copy.rows, "frames") as advance:
            copy.compare(workers, advance, stop.check)


def _origin_of_copy(origin: Origin, path: Path, copy: Path) -> Origin:
    """The origin of a fetched recording once the copy has replaced it."""
    file = FetchedFile(name=path.name, size=copy.stat().st_size, sha256=weights_digest(copy))
    return origin.model_copy(update={"files": (file,)})
