"""Finds a run by its name in one folder: our own run, or a checkpoint of any generation of another tool."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open

from lewm_cli.errors import LewmError
from lewm_cli.file_kind import FileKind, look
from lewm_cli.store.formats import INDEX, shard_files
from lewm_cli.store.names import RESERVED, WEIGHT_SUFFIXES, is_name, run_name, split_step
from lewm_cli.store.run_files import HEADER, RunFiles
from lewm_cli.suggestion import few

CHECKPOINTS = (".safetensors", ".safetensors.index.json", ".bin.index.json", ".ckpt", ".pt", ".pth", ".bin", ".pkl")

_RELEASE = "weights.pt"
_EPOCH = re.compile(r"weights_epoch_(\d+)\.pt")
_HUB = re.compile(r"models--(.+?)--(.+)")
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}(\.\w+)")


@dataclass(frozen=True)
class FoundRun:
    """A run that was found by name, which may not be the alias that was typed.

    Args:
        kind: what its weights are, as far as file names tell.
        problem: why it cannot be used: the name stands for several checkpoints.
    """

    name: str
    files: RunFiles
    kind: str
    problem: str | None = None

    @property
    def own(self) -> bool:
        """True if lewm wrote it."""
        return self.files.external is None

    def with_copy(self, copy: str) -> "FoundRun":
        """One of several models in its weights, with notes of its own."""
        stem = self.files.stem.with_name(f"{self.files.stem.name}@{copy}")
        return replace(self, name=f"{self.name}@{copy}", files=replace(self.files, stem=stem, copy=copy))


def walk(base: Path, suffixes: str | tuple[str, ...]) -> Iterator[Path]:
    """Files of a suffix under a folder, by name; also in linked folders, once, and in nothing hidden or of a run."""
    entered = set()
    for folder, inner, files in os.walk(base, followlinks=True):
        inner[:] = sorted(name for name in inner if not name.startswith(".") and not name.endswith(".run"))
        real = os.path.realpath(folder)
        if real in entered:
            inner.clear()
            continue
        entered.add(real)
        found = (Path(folder, name) for name in sorted(files) if name.endswith(suffixes) and name[0] != ".")
        # No pipes, which keep waiting whoever opens them; links that lead nowhere are told about.
        yield from (path for path in found if os.path.isfile(path) or os.path.islink(path))


def names_in(folder: Path) -> list[str]:
    """Visible names in a folder, sorted; none where there is no folder, or one that may not be read."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return []


def run_names(base: Path) -> Iterator[str]:
    """Names of all runs under a folder; one of several files comes up several times."""
    for path in walk(base, CHECKPOINTS):
        name = split_step(_place_name(path.relative_to(base)))[0]
        if name.partition("/")[0] not in RESERVED and not _index_of(path):
            yield name


def names_of_path(typed: str, bases: Iterable[Path]) -> list[str]:
    """Names that a run may have whose file or folder was typed as a path, from here or from a base; none outside.

    Args:
        bases: the folders that names are paths under.
    """
    typed = os.path.expanduser(typed)
    if "\\" in typed and not os.path.lexists(typed):  # as Windows writes paths
        typed = typed.replace("\\", "/")
    bases = list(bases)
    tried = [Path(os.path.abspath(folder / typed)) for folder in (Path(), *bases)]
    path = next(filter(os.path.lexists, tried), tried[0])
    path = _index_of(path) or path
    # The file itself may be a link to somewhere else, and so may the base.
    real = (path, _real(path.parent) / path.name, _real(path))
    pairs = [(one, root) for base in bases for root in dict.fromkeys((base, _real(base))) for one in real]
    places = [one.relative_to(root) for one, root in pairs if one.is_relative_to(root) and one != root]
    if not os.path.lexists(path) and not Path(typed).is_absolute():
        places.append(Path(os.path.normpath(typed)))
    return [name for name in dict.fromkeys(map(_place_name, places)) if is_name(name)]


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve fails where links lead round in a circle


def checkpoint_files(path: Path) -> list[Path]:
    """The files to copy for weights that were named by path, or lie in a folder that was: they and their sizes."""
    folder = path if path.is_dir() else path.parent
    names = [name for name in names_in(folder) if name.endswith(CHECKPOINTS)] if path.is_dir() else [path.name]
    index = None if path.is_dir() else _index_of(path) or path
    if index and index.name.endswith(INDEX):
        names = [index.name, *(file.name for file in shard_files(index))]
    if not any(name.endswith(CHECKPOINTS) for name in names):
        return []
    return [folder / name for name in (*names, "config.json") if name != "config.json" or (folder / name).is_file()]


def _place_name(place: Path) -> str:
    """The name of the run that a file or folder under a base belongs to."""
    hub = _HUB.fullmatch(place.parts[0])
    if hub:
        return "/".join(hub.groups())
    for above in (place, *place.parents):
        if above.suffix == ".run":
            place = above
    return run_name(place.as_posix())


def _index_of(path: Path) -> Path | None:
    """The index that a file is a shard of."""
    shard = _SHARD.fullmatch(path.name)
    index = path.with_name(f"{shard[1]}{shard[2]}{INDEX}") if shard else path
    return index if shard and index.is_file() else None


def find_in(base: Path, name: str, step: int | None = None) -> FoundRun | None:
    """Find the run of a name, or one state of it, under a home or `checkpoints` in it; ours before all else."""
    if _is_own(RunFiles(base / name).weights):
        if step is not None:
            raise LewmError(
                f"{name}@{step} is not kept: lewm keeps only the last state of its own runs; type {name!r} for it"
            )
        return FoundRun(name, RunFiles(base / name), "lewm")
    found = [*_files(base, name), *_in_folder(base, name, step), *_in_hub(base, name, step)]
    if step is not None:
        epochs = [one for one in found if one.name == f"{name}@{step}"]
        if found and not epochs:
            raise LewmError(f"there is no {name}@{step}: {name} is one file, without a number; type {name!r} for it")
        found = epochs
    if len(found) < 2:
        return found[0] if found else None
    paths = " and ".join(one.files.weights.relative_to(base).as_posix() for one in found)
    names = [one.name for one in found]
    what_to_do = "leave only one of them there" if name in names else f"type {' or '.join(map(repr, names))}"
    problem = f"{name!r} could mean {paths} under {base}, which are different checkpoints; {what_to_do}"
    return FoundRun(name, found[0].files, "ambiguous", problem)


def _is_own(weights: Path) -> bool:
    if not (os.path.isfile(weights) or os.path.islink(weights)) or weights.is_fifo():
        return False
    try:
        with safe_open(weights, framework="numpy") as file:
            return HEADER in (file.metadata() or {})
    except SafetensorError:
        return look(weights) not in (FileKind.TORCH, FileKind.PICKLE)  # else damaged, and loading says so
    except OSError:
        return True  # a link that leads nowhere, and loading says so


def _files(base: Path, name: str) -> list[FoundRun]:
    """Files of that stem; of an object and a state dict the object, which carries its sizes."""
    found = {
        suffix: FoundRun(name, RunFiles(base / name, external=path), kind)
        for suffix, kind in WEIGHT_SUFFIXES.items()
        if (path := base / f"{name}{suffix}").is_file() and run_name(f"{name}{suffix}") == name
    }
    return [one for one in found.values() if one.kind != "state dict" or "_object.ckpt" not in found]


def _checkpoints(folder: Path) -> list[str]:
    """Names of files of weights in a folder; of shards their index alone."""
    return [name for name in names_in(folder) if name.endswith(CHECKPOINTS) and not _index_of(folder / name)]


def _in_folder(base: Path, name: str, step: int | None) -> list[FoundRun]:
    folder = base / name
    found = _weights_in(folder, name, folder, step)
    files = (one for one in _checkpoints(folder) if one != _RELEASE)
    others = dict.fromkeys(run_name(f"{name}/{one}") for one in files)
    inner = [find_in(base, other) for other in others if split_step(other)[0] != name]
    # A folder of our runs is a folder, not a run.
    if any(one is not None and one.own for one in inner):
        return found
    return [*found, *(one for one in inner if one is not None)]


def _in_hub(base: Path, name: str, step: int | None) -> list[FoundRun]:
    """In a cache of the Hub: the files lie plainly in the folder of the repository, or in a snapshot of it."""
    user, _, repository = name.partition("/")
    if not repository or "/" in repository:
        return []
    cached = base / f"models--{user}--{repository}"
    snapshots = [cached / "snapshots" / revision for revision in names_in(cached / "snapshots")]
    snapshots.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in (cached, *snapshots):
        found = _weights_in(cached, name, folder, step)
        others = (one for one in _checkpoints(folder) if one != _RELEASE)
        found += [
            FoundRun(name, RunFiles(cached, folder / one), "Hub cache") for one in others if not _EPOCH.fullmatch(one)
        ]
        if found:
            return [replace(one, files=replace(one.files, within=cached)) for one in found]
    return []


def _weights_in(stem: Path, name: str, folder: Path, step: int | None) -> list[FoundRun]:
    """`weights.pt` and the newest epoch of a folder, or the epoch that is asked for."""
    found, names = [], names_in(folder)
    if _RELEASE in names:
        kind = "Hub release" if "config.json" in names else "state dict"
        found.append(FoundRun(name, RunFiles(stem, folder / _RELEASE, folder), kind))
    epochs = {int(match[1]): match[0] for one in names if (match := _EPOCH.fullmatch(one))}
    if step is not None and epochs and step not in epochs:
        kept = few(f"{name}@{epoch}" for epoch in sorted(epochs, key=lambda epoch: (abs(epoch - step), epoch)))
        raise LewmError(f"there is no {name}@{step} in {folder}; there is {kept}")
    if epochs:
        epoch = max(epochs) if step is None else step
        numbered = "" if step is None else f"@{step}"
        files = RunFiles(stem.with_name(f"{stem.name}{numbered}"), folder / epochs[epoch], folder)
        found.append(FoundRun(f"{name}{numbered}", files, f"epoch {epoch}"))
    return found
