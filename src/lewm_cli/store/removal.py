"""Taking a run or a dataset out of the home: first what would go, then in an order that a kill cannot spoil."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lewm_cli.data import open_dataset, packed_paths
from lewm_cli.errors import LewmError
from lewm_cli.files import lock_path, locked, stale_parts
from lewm_cli.store.home import Home
from lewm_cli.store.names import RESERVED, WEIGHT_SUFFIXES, split_step
from lewm_cli.store.origin import IN_FOLDER, dataset_origin
from lewm_cli.store.run_files import RunFiles


@dataclass(frozen=True)
class RemovedFile:
    """A file, or a link, of which only the link goes.

    Args:
        path: where it lies.
        size: bytes that are freed.
        link: where it leads, if it is a link.
    """

    path: Path
    size: int
    link: Path | None = None


@dataclass(frozen=True)
class Removal:
    """What goes with one name.

    Args:
        name: as typed.
        kind: "run" or "dataset".
        main: the file that makes it a run or a dataset.
        files: in the order in which they go.
        folders: that are empty then, inner ones first.
        guards: files whose locks are held meanwhile, and go too.
        run: of a run, where it lies.
        remarks: what a person should know.
    """

    name: str
    kind: str
    main: Path
    files: tuple[RemovedFile, ...]
    folders: tuple[Path, ...]
    guards: tuple[Path, ...]
    run: RunFiles | None = None
    remarks: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes that are freed."""
        return sum(file.size for file in self.files)


def plan_run_removal(home: Home, name: str, files: RunFiles) -> Removal:
    """What would go with a run.

    Raises:
        LewmError: it lies outside the home that takes the writes, or may not be removed.
    """
    inner, folders = _contents(files.folder)
    # The weights last: killed at any point, the run still loads and is still listed, so that the same command can be
    # typed again; or it is gone altogether. The resume state first: without the files derived at the end of training,
    # it would make the run look like one that stopped on the way.
    inner.sort(key=lambda path: path != files.resume)
    weights, around = _weights(files)
    written = (files.statistics, *weights)
    parts = [part for path in written for part in stale_parts(path)]
    paths = [*inner, *parts, *(path for path in written if os.path.lexists(path))]
    removed = tuple(map(_described, paths))
    # Of a folder that goes as a whole the lock lies beside it.
    guards = (around[-1] if around else files.weights,)
    return _allowed(home, Removal(name, "run", files.weights, removed, (*folders, *around), guards, run=files))


def plan_dataset_removal(home: Home, name: str, path: Path) -> Removal:
    """What would go with a dataset: the recording, and its frames packed in the cache.

    Raises:
        LewmError: it lies outside the home that takes the writes, or may not be removed.
    """
    packed, remarks = [], []
    try:
        packed = packed_paths(open_dataset(path, name), home.cache)
    except (LewmError, OSError, RuntimeError, ValueError, LookupError, TypeError):
        remarks.append(f"it cannot be read, so frames of it that may be packed in {home.cache} are not found")
    if packed and not _lies_in(home, packed[0]):
        remarks.append(f"its packed frames lie outside the home and stay: {packed[0].resolve()}")
        packed = []
    # The recording last: its content is what leads to its packed frames.
    origin = dataset_origin(path)
    noted = [origin] if origin.exists() else []
    paths = [*packed, *(part for each in (*packed, path) for part in stale_parts(each)), *noted, path]
    guards = (path, *packed)
    removed = tuple(map(_described, paths))
    return _allowed(home, Removal(name, "dataset", path, removed, (), guards, remarks=tuple(remarks)))


def remove(home: Home, removal: Removal) -> None:
    """Remove what was planned; folders of the home that are empty then go too.

    Raises:
        LewmError: another process writes it, it has changed since it was planned, or a file may not be removed.
    """
    busy = f"another process is writing {removal.name!r}; stop it first, or wait for its end"
    with ExitStack() as held:
        for guard in removal.guards:
            held.enter_context(locked(guard, busy))
        # What has gone meanwhile is gone; what is new or has grown was not agreed to.
        if set(_planned_again(home, removal).files) - set(removal.files):
            raise LewmError(f"{removal.name} has changed since it was listed, so it stays; type the command again")
        try:
            for file in removal.files:
                file.path.unlink(missing_ok=True)
            for folder in removal.folders:
                folder.rmdir()
            # While they are held, as lock_path says.
            for guard in removal.guards:
                lock_path(guard).unlink(missing_ok=True)
        except OSError as error:
            raise LewmError(
                f"{error.filename} cannot be removed ({error.strerror}), and what comes after it is still there; "
                "ask the owner of the folder"
            ) from error
    _remove_empty_parents(home, removal.main.parent)


def _planned_again(home: Home, removal: Removal) -> Removal:
    if removal.run:
        return plan_run_removal(home, removal.name, removal.run)
    return plan_dataset_removal(home, removal.name, removal.main)


def _weights(files: RunFiles) -> tuple[list[Path], tuple[Path, ...]]:
    """The weights of a run in all their forms, the ones it goes by last, and folders that hold nothing else."""
    one_state = split_step(files.stem.name)[1] is not None
    if files.within and files.within.name.startswith("models--"):  # a repository in a cache of the Hub
        if one_state:
            raise LewmError(f"{files.within} is a cache of the Hub, and goes as a whole; type its name without @")
        paths, folders = _contents(files.within)
        return sorted(paths, key=lambda path: path == files.weights), folders
    if files.within:  # which may hold other things too
        named = [path for path in sorted(files.within.glob("weights*.pt")) if path != files.foreign]
        if one_state and named:
            return [files.weights], ()
        return [*named, files.within / "config.json", files.within / IN_FOLDER, files.weights], ()
    if files.foreign:
        forms = [Path(f"{files.stem}{suffix}") for suffix in WEIGHT_SUFFIXES]
        return [*(path for path in forms if path != files.foreign), files.foreign], ()
    return [files.object, files.state_dict, files.weights], ()


def _contents(folder: Path) -> tuple[list[Path], tuple[Path, ...]]:
    """Files and links in a folder and below, and the folders, inner ones first; a link to a folder is one link."""
    if folder.is_symlink():
        return [folder], ()
    files: list[Path] = []
    folders: list[Path] = []
    for inside, inner, names in os.walk(folder, topdown=False):
        here = Path(inside)
        files += [here / name for name in sorted(names)]
        files += [here / name for name in sorted(inner) if (here / name).is_symlink()]
        folders.append(here)
    return files, tuple(folders)


def _described(path: Path) -> RemovedFile:
    size = path.lstat().st_size
    return RemovedFile(path, size, path.readlink() if path.is_symlink() else None)


def _allowed(home: Home, removal: Removal) -> Removal:
    for path in (removal.main, *(file.path for file in removal.files)):
        if not _lies_in(home, path):
            raise LewmError(
                f"{removal.name} lies at {path.parent.resolve() / path.name}, outside the home that takes the writes "
                f"({home.write}), so it is not removed; name its home with --home"
            )
    for folder in dict.fromkeys((*removal.folders, *(file.path.parent for file in removal.files))):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise LewmError(f"nothing can be removed from {folder}, which is read-only for you; ask its owner")
    return removal


def _lies_in(home: Home, path: Path) -> bool:
    # The folder and not the file, which may be a link that leads out: only the link goes then.
    return path.parent.resolve().is_relative_to(home.write.resolve())


def _remove_empty_parents(home: Home, folder: Path) -> None:
    for empty in _own_folders(home, folder):
        try:
            empty.rmdir()
        except OSError:  # something else is in it
            return


def _own_folders(home: Home, folder: Path) -> Iterator[Path]:
    """A folder and those above it, up to the home; not `datasets` and `checkpoints`, which say what layout it has."""
    kept = {home.write, *(home.write / name for name in RESERVED)}
    while folder not in kept and folder.is_relative_to(home.write):
        yield folder
        folder = folder.parent
