"""Removes a run or a dataset of the home: lists first what would go, then goes in an order that a kill cannot spoil."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lewm_cli.errors import LewmError
from lewm_cli.files import lock_path, locked, stale_parts
from lewm_cli.store.formats import shard_files
from lewm_cli.store.home import HALF_DONE, Home, half_done
from lewm_cli.store.locate import names_in
from lewm_cli.store.names import RESERVED, WEIGHT_SUFFIXES, run_name, split_step
from lewm_cli.store.origin import IN_FOLDER, dataset_origin
from lewm_cli.store.run_files import BEST, RunFiles
from lewm_cli.system_errors import explain


@dataclass(frozen=True)
class RemovedFile:
    """A file and the bytes that it frees, or a link, of which only the link goes, and where it leads."""

    path: Path
    bytes: int
    link: Path | None


@dataclass(frozen=True)
class Removal:
    """Everything that goes with the name of a "run" or "dataset".

    Args:
        main: the file that makes it one.
        files: in the order in which they go.
        folders: that are empty then, inner ones first.
        guards: files whose locks are held meanwhile, and go too.
        plan: makes the plan again.
    """

    name: str
    kind: str
    main: Path
    files: tuple[RemovedFile, ...]
    folders: tuple[Path, ...]
    guards: tuple[Path, ...]
    plan: Callable[[], "Removal"]

    @property
    def bytes(self) -> int:
        """Bytes that are freed."""
        return sum(file.bytes for file in self.files)


def plan_run_removal(home: Home, name: str, files: RunFiles) -> Removal:
    """List everything that would go with a run; raises LewmError if it may not be removed, or lies elsewhere."""
    notes = _notes(files)
    found = [_contents(each.folder) for each in notes]
    inner, folders = [path for paths, _ in found for path in paths], tuple(one for _, each in found for one in each)
    # The weights last: killed at any point, the run still loads and is still listed, so that the same command can be
    # typed again; or it is gone altogether. The resume state first: without the files derived at the end of training,
    # it would make the run look like one that stopped on the way.
    inner.sort(key=lambda path: path != files.resume)
    weights, around = _weights(files)
    written = (*(each.statistics for each in notes), *weights)
    paths = [*inner, *(part for path in written for part in stale_parts(path)), *filter(_is_there, written)]
    folders = (*folders, *around)
    # The lock of a folder that goes as a whole lies beside it. Whoever trains a run writes its best state, too.
    stem = str(files.stem)
    trained = [RunFiles(Path(stem.removesuffix(BEST))).weights] if stem.endswith(BEST) and not files.external else []
    best = [files.best.weights] if files.best.weights in weights and _is_there(files.best.weights) else []
    guards = (around[-1] if around else files.weights, *trained, *best)
    going = _described(home, name, files.weights, paths, folders)
    again = partial(plan_run_removal, home, name, files)
    return Removal(name, "run", files.weights, going, folders, guards, again)


def plan_dataset_removal(home: Home, name: str, path: Path) -> Removal:
    """List everything that would go with a dataset; raises likewise."""
    halves = [_contents(half_done(path, command)) for command in HALF_DONE]
    inner, folders = [file for files, _ in halves for file in files], tuple(one for _, each in halves for one in each)
    paths = [*inner, *stale_parts(path), *filter(_is_there, [dataset_origin(path)]), path]
    going = _described(home, name, path, paths, folders)
    return Removal(name, "dataset", path, going, folders, (path,), partial(plan_dataset_removal, home, name, path))


def remove(home: Home, removal: Removal) -> None:
    """Remove what was planned; folders of the home that are empty then go too.

    Raises:
        LewmError: another process writes it, it has changed since it was planned, or a file may not be removed.
    """
    busy = f"another process is writing {removal.name!r}; stop it first, or wait for its end"
    with ExitStack() as held:
        for guard in removal.guards:
            held.enter_context(locked(guard, busy))
        # Files that have gone meanwhile are gone; those that are new or have grown were not agreed to.
        if set(removal.plan().files) - set(removal.files):
            raise LewmError(f"{removal.name} has changed since it was listed, so it stays; type the command again")
        try:
            for file in removal.files:
                file.path.unlink(missing_ok=True)
            for folder in removal.folders:
                folder.rmdir()
            for guard in removal.guards:  # while they are held, as lock_path says
                lock_path(guard).unlink(missing_ok=True)
        except OSError as error:
            raise LewmError(f"{explain(error, doing='removed')}; what comes after it is still there") from error
    # `datasets` and `checkpoints` stay: they say what layout the home has.
    folder, kept = removal.main.parent, {home.write, *(home.write / name for name in RESERVED)}
    with suppress(OSError):  # something else is in it
        while folder not in kept and folder.is_relative_to(home.write):
            folder.rmdir()
            folder = folder.parent


def _notes(files: RunFiles) -> list[RunFiles]:
    """The files of notes on a run, and on each model or state in its weights that was named with `@`."""
    stem, one_state = files.stem, split_step(files.stem.name)[1] is not None
    if files.external is None:
        return [files, files.best]
    if one_state:
        return [files]
    names = [name for name in names_in(stem.parent) if name.startswith(f"{stem.name}@")]
    notes = {run_name(name.removesuffix(".stats.json")) for name in names if name.endswith((".run", ".stats.json"))}
    inside = sorted(notes - {run_name(name) for name in names if name.endswith(tuple(WEIGHT_SUFFIXES))})
    return [files, *(replace(files, stem=stem.with_name(name)) for name in inside)]


def _weights(files: RunFiles) -> tuple[list[Path], tuple[Path, ...]]:
    """The weights of a run in all their forms, the ones it goes by last, and folders that hold nothing else."""
    if files.copy:
        raise LewmError(f"{files.weights} goes as a whole, with all models in it; type its name without @{files.copy}")
    one_state = split_step(files.stem.name)[1] is not None
    if files.within and files.within.name.startswith("models--"):  # a repository in a cache of the Hub
        if one_state:
            raise LewmError(f"{files.within} is a cache of the Hub, and goes as a whole; type its name without @")
        paths, folders = _contents(files.within)
        return sorted(paths, key=lambda path: path == files.weights), folders
    if files.within:  # which may hold other things too
        named = [path for path in sorted(files.within.glob("weights*.pt")) if path != files.external]
        if one_state and named:
            return [files.weights], ()
        return [*named, files.within / "config.json", files.within / IN_FOLDER, files.weights], ()
    if files.external:
        forms = [path for suffix in WEIGHT_SUFFIXES if (path := Path(f"{files.stem}{suffix}")) != files.external]
        with suppress(LewmError):  # of a damaged index, it alone goes
            forms += [path for path in shard_files(files.external) if path != files.external]
        return [*forms, files.external], ()
    return [path for each in (files.best, files) for path in (each.object, each.state_dict, each.weights)], ()


def _is_there(path: Path) -> bool:
    # os.path.lexists takes whatever the system says for a no, and then half of a run would go.
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _contents(folder: Path) -> tuple[list[Path], tuple[Path, ...]]:
    """Files and links in a folder and below, and the folders, inner ones first; a link to a folder is one link."""
    if folder.is_symlink():
        return [folder], ()
    files: list[Path] = []
    folders: list[Path] = []
    for inside, inner, names in os.walk(folder, topdown=False):
        here = Path(inside)
        links = (name for name in inner if (here / name).is_symlink())
        files += (here / name for name in (*sorted(names), *sorted(links)))
        folders.append(here)
    return files, tuple(folders)


def _described(
    home: Home, name: str, main: Path, paths: Sequence[Path], folders: Sequence[Path]
) -> tuple[RemovedFile, ...]:
    """Describes files, all of which lie in the home that takes the writes and may be removed."""
    for path in (main, *paths):
        # The folder and not the file, which may be a link that leads out: only the link goes then.
        if not path.parent.resolve().is_relative_to(home.write.resolve()):
            raise LewmError(
                f"{name} lies at {path.parent.resolve() / path.name}, outside the home that takes the writes "
                f"({home.write}), so it is not removed; name its home with --home"
            )
    for folder in dict.fromkeys((*folders, *(path.parent for path in paths))):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise LewmError(f"nothing can be removed from {folder}, which is read-only for you; ask its owner")
    links = (path.readlink() if path.is_symlink() else None for path in paths)
    return tuple(RemovedFile(path, path.lstat().st_size, link) for path, link in zip(paths, links, strict=True))
