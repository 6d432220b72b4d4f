"""Homes: one folder that takes the writes, and others that are read too."""

import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path, PurePosixPath

from lewm_cli.data import DATASET_SUFFIXES, Dataset
from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.files import is_locked
from lewm_cli.store.locate import FoundRun, checkpoint_files, find_in, names_of_path, run_names, walk
from lewm_cli.store.names import (
    RELEASED,
    RESERVED,
    RUN_SUFFIXES,
    WEIGHT_SUFFIXES,
    check_name,
    dataset_task,
    is_name,
    other_names,
    run_name,
    split_copy,
    split_step,
)
from lewm_cli.store.run_files import BEST, RunFiles
from lewm_cli.suggestion import command, offer, quote
from lewm_cli.system_errors import explain, in_the_way
from lewm_cli.tasks import Task

HALF_DONE = {"pack": ".packing-", "import": ".importing-"}
"""Begin the names of folders in which a recording comes together, by the command that goes on with it."""


@dataclass(frozen=True)
class Home:
    """A store of datasets and runs.

    Reading looks at every folder in turn, at the flat layout (`<home>/<name>.h5`) before the newer one
    (`<home>/datasets/<name>.h5`, `<home>/checkpoints/<name>.safetensors`). Writing follows the layout that the
    home already has; an empty home gets the flat one.
    """

    write: Path
    read: tuple[Path, ...]

    @classmethod
    def locate(cls, option: str | Path | None = None) -> "Home":
        """The home for `--home`, `$LEWM_WRITE_HOME`, `$STABLEWM_HOME` or the default `~/.stable-wm`.

        `--home` and `$LEWM_WRITE_HOME` take the writes; the other homes are read all the same. Raises LewmError where
        there is none: for a user without a home folder, as containers have them.
        """
        variable = os.environ.get("STABLEWM_HOME")
        named = [folder for folder in (option or os.environ.get("LEWM_WRITE_HOME"), variable) if folder]
        default = [] if variable else ["~/.stable-wm", "~/.stable_worldmodel"]
        folders = [_expanded(folder) for folder in (*named, *default)]
        read = tuple(dict.fromkeys(folder.absolute() for folder in folders if folder))
        if not read or (named and folders[0] is None):
            raise LewmError(
                "this user has no home folder ($HOME is not set); say where recordings and runs are: "
                "export STABLEWM_HOME=FOLDER"
            )
        return cls(write=read[0], read=read)

    def unreadable(self) -> Iterator[str]:
        """Says of every folder that cannot be searched why, and what to do."""
        for folder in self.read:
            try:
                os.listdir(folder)
            except FileNotFoundError:
                if obstacle := in_the_way(folder):
                    yield f"{obstacle}; mount the disk that it leads to, or name another folder with --home"
            except OSError as error:
                yield str(explain(error, folder, "read"))

    def offer(self, word: str, known: Iterable[str], first: str = "") -> str:
        """The clause of `suggestion.offer` for a name that is not here, or why not every folder could be searched."""
        there, blocked = list(known), list(self.unreadable())
        near = [offer(word, there, command("ls"), first)] if there or not blocked else []
        return "; ".join([*near, *blocked])

    # Datasets

    def dataset_path(self, name: str) -> Path:
        """The path of a new dataset of this name."""
        return self._writing("datasets") / f"{check_name(name, 'dataset')}.h5"

    def new_dataset_path(self, name: str) -> Path:
        """The same; raises UsageError too for the name of a released dataset."""
        path = self.dataset_path(name)
        if path.stem in RELEASED:
            raise UsageError(f"{path.stem!r} is the name of a released dataset; choose another --name, like {name}-own")
        return path

    def find_dataset(self, name: str, say: Callable[[str], None] | None = None) -> Dataset:
        """Open a dataset by name, or by path if one is typed; what a path leads to is known when it has been looked at.

        Args:
            say: is told what in it is read in another way than recordings have it, one line each.

        Raises:
            LewmError: there is none (the nearest names are listed), or it cannot be read.
        """
        dataset = self._open_dataset(name)
        if say:
            for note in dataset.notes:
                say(f"note: {dataset.name}: {note}")
        return dataset

    def _open_dataset(self, name: str) -> Dataset:
        from lewm_cli.data import open_dataset  # which needs HDF5: only where there is a recording to open

        typed = Path(name)
        there = os.path.lexists(typed)  # never an error, however long the name is
        suffixed = typed.suffix in DATASET_SUFFIXES
        plain = name.removesuffix(typed.suffix) if suffixed else name
        # A name leads into the home, whatever else is called so here.
        path = self.dataset_file(plain) if is_name(plain) and not (there and suffixed) else None
        if path is None and there:
            return open_dataset(typed.absolute(), str(typed.absolute()))
        if path is None and plain != name:
            raise MissingError(f"there is no file {name}; `{command('ls')}` lists the recordings that go by name")
        if path is None:
            for base in self._candidates("datasets", check_name(name, "dataset")):
                # Of other tools; opening one says what it is.
                lerobot = base if os.path.exists(base / "meta" / "info.json") else None
                for folder in (lerobot, Path(f"{base}.lance"), Path(f"{base}.zarr")):
                    if folder and os.path.isdir(folder):
                        return open_dataset(folder, name)
            known = [known for known, _ in self.dataset_files()]
            others = self.offer(name, known, command("collect", "tworoom", "--episodes", 300))
            raise MissingError(f"there is no dataset {name!r} under {self._places()}; {others}")
        return open_dataset(path, check_name(name, "dataset"))

    def dataset_file(self, name: str) -> Path | None:
        """The path of a recording of this name, in any folder or layout, or of a link that leads nowhere; or None."""
        check_name(name, "dataset")
        files = (f"{base}{suffix}" for base in self._candidates("datasets", name) for suffix in DATASET_SUFFIXES)
        return next((Path(file) for file in files if os.path.lexists(file)), None)

    def datasets_of(self, task: Task) -> list[Dataset]:
        """Every readable recording of a task, the released one first, then by name; packed copies stand for sources."""
        from lewm_cli.data import one_of_each, open_dataset, original_stem

        found = []
        for name, path in self.dataset_files():
            try:
                dataset = open_dataset(path, name)
            except LewmError:
                continue  # a damaged file is no recording of any task; naming it says what is wrong
            if dataset_task(dataset) is task:
                found.append(dataset)
        return one_of_each(
            sorted(found, key=lambda dataset: (original_stem(dataset) != task.released_dataset, dataset.name))
        )

    def dataset_files(self) -> Iterator[tuple[str, Path]]:
        """Names and paths of all HDF5 files, each name once."""
        seen = set()
        for base in self._bases("datasets"):
            for path in walk(base, DATASET_SUFFIXES):
                name = path.relative_to(base).with_suffix("").as_posix()
                if name.partition("/")[0] not in RESERVED and name not in seen:
                    seen.add(name)
                    yield name, path

    def half_done(self) -> list[tuple[str, Path]]:
        """Commands and folders of recordings that were begun, and that no process goes on with, where new files go."""
        found = [(command, half) for command, begin in HALF_DONE.items() for half in self.write.rglob(f"{begin}*")]
        return [
            (command, half)
            for command, half in sorted(found)
            if not is_locked(half.with_name(half.name.removeprefix(HALF_DONE[command])))
        ]

    def half_done_notes(self) -> Iterator[str]:
        """Says of each of them how it is gone on with, or removed."""
        for name, half in self.half_done():
            yield f"note: a lewm {name} that was stopped goes on with {half}; if it is not to: rm -r {quote(str(half))}"

    # Runs

    def run_stem(self, name: str) -> Path:
        """Path without suffix of a run: where it lies if it exists, else where it would be written."""
        check_name(name, "run")
        found = (stem for stem in self._candidates("checkpoints", name) if _holds_weights(stem))
        return next(found, None) or self.new_run_stem(name)

    def new_run_stem(self, name: str) -> Path:
        """Path without suffix where anything about a run of this name is written: over an older one if it is there."""
        check_name(name, "run")
        here = (self.write / name, self.write / "checkpoints" / name)
        return next((stem for stem in here if _holds_weights(stem)), self._writing("checkpoints") / name)

    def find_run(self, typed: str) -> FoundRun:
        """Find a run, ours or another tool's, by name, by an alias of it, or by the path of its file or folder.

        Raises:
            MissingError: there is none; the nearest name is offered.
            LewmError: several checkpoints go by this name, the state after `@` is not kept, or it is a path outside of
                every home; the error says how to bring it into one.
        """
        name = self.run_name(typed)
        found = self._found(name) or self._copy(name)
        if found:
            return found
        if not names_of_path(typed, self._bases("checkpoints")) and checkpoint_files(Path(typed)):
            raise self._outside(typed)
        typed = check_name(name, "run")
        known = [known for known, _ in self.run_files()]
        others = self.offer(typed, known, command("train", "tworoom"))
        raise MissingError(f"there is no run {typed!r} under {self._places()}; {others}")

    def run_name(self, typed: str) -> str:
        """The name of the run whose file or folder was typed as a path; any other word is the name that was typed.

        Raises:
            UsageError: it is neither.
            LewmError: it is a path outside of every home, or there is nothing.
        """
        if not typed.strip() or not typed.isprintable():
            return check_name(typed, "run")
        named = is_name(typed) and not typed.endswith(RUN_SUFFIXES) and "\\" not in typed
        names = [*([typed] if named else []), *names_of_path(typed, self._bases("checkpoints"))]
        if not names:
            raise self._outside(typed)
        return next(filter(self._found, names), names[0])

    def _found(self, typed: str) -> FoundRun | None:
        plain, step = split_step(typed)
        for name in (plain, *other_names(plain)):
            for base in self._bases("checkpoints"):
                found = find_in(base, name, step)
                if found and found.problem:
                    raise LewmError(found.problem)
                if found:
                    return found
        return None

    def _copy(self, typed: str) -> FoundRun | None:
        """The run of which one model is asked for, as `run@ema`."""
        plain, copy = split_copy(typed)
        found = self._found(self.run_name(plain)) if copy else None
        if found and found.own and typed.endswith(BEST):
            raise LewmError(
                f"no best state of {found.name} is kept: that is done by `lewm train --eval-every N`; type "
                f"{found.name!r} for its last state"
            )
        if found and found.own:
            raise LewmError(f"{found.name} is one model, which lewm trained; type {found.name!r} for it")
        return found and found.with_copy(str(copy))

    def _outside(self, typed: str) -> LewmError:
        """Says how to bring weights into a home: notes on a run, and the runs it is compared with, go by its name."""
        path = Path(os.path.expanduser(typed))
        if not os.path.exists(path):  # never an error, however long it is
            return MissingError(f"there is no file {typed}; `{command('ls')}` lists the runs that go by name")
        files = checkpoint_files(path)
        if not files:
            return MissingError(
                f"{typed} holds no weights that are known by their ending; `{command('ls')}` lists the runs"
            )
        stem = run_name(path.name).removesuffix(".")
        name = next(self.free_names(stem if is_name(stem) else "downloaded", "run"))
        folder = self._writing("checkpoints") / name
        put = f"mkdir -p {shlex.quote(str(folder))} && {shlex.join(['cp', *map(str, files), str(folder)])}"
        show = command("show", name)
        return LewmError(f"{typed} lies outside the home, under which runs have their names; type: {put} && {show}")

    def runs(self) -> Iterator[FoundRun]:
        """All runs, each name once, in the order they are searched; several checkpoints of one name as a problem."""
        seen = set()
        for base in self._bases("checkpoints"):
            for name in run_names(base):
                found = None if name in seen else find_in(base, name)
                if found:
                    seen.add(name)
                    yield found

    def run_files(self) -> Iterator[tuple[str, Path]]:
        """Names and weight files of all runs, each name once."""
        yield from ((run.name, run.files.weights) for run in self.runs())

    def sidecar(self, name: str, files: RunFiles) -> RunFiles:
        """The files that take notes on a run: beside it, else in the home that takes the writes."""
        return files if os.access(files.stem.parent, os.W_OK) else RunFiles(self.new_run_stem(name))

    def free_names(self, stem: str, kind: str) -> Iterator[str]:
        """Those of `stem`, `stem-2`, `stem-3`, ... that no "run" or "dataset" has; others may take them meanwhile."""
        taken = self.run_is_taken if kind == "run" else self.dataset_file
        return (name for name in chain([stem], (f"{stem}-{number}" for number in count(2))) if not taken(name))

    def run_is_taken(self, name: str) -> bool:
        """Tell whether weights of any tool, or a folder, stand under this run name."""
        return any(stem.is_dir() or _holds_weights(stem) for stem in self._candidates("checkpoints", name))

    def run_above(self, name: str) -> str | None:
        """The run that a folder on the way to this name would be named like; stable_worldmodel looks only inside it."""
        parents = [parent.as_posix() for parent in PurePosixPath(name).parents]
        return next((up for up in parents if any(map(_holds_weights, self._candidates("checkpoints", up)))), None)

    def _candidates(self, kind: str, name: str) -> Iterator[Path]:
        yield from (base / name for base in self._bases(kind))

    def _bases(self, kind: str) -> Iterator[Path]:
        """The folders that names are paths under: of every home first the flat layout, then the newer one."""
        for folder in self.read:
            yield folder
            yield folder / kind

    def _writing(self, kind: str) -> Path:
        nested = any((self.write / layout).is_dir() for layout in ("datasets", "checkpoints"))
        return self.write / kind if nested else self.write

    def _places(self) -> str:
        return " or ".join(str(folder) for folder in self.read)


def half_done(path: Path, command: str) -> Path:
    """The hidden folder in which the recording comes together that a command is to put at a path."""
    return path.with_name(f"{HALF_DONE[command]}{path.name}")


def _expanded(folder: str | Path) -> Path | None:
    """The folder with the user's own in place of ~; None if the user has none."""
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        return None


def _holds_weights(stem: Path) -> bool:
    return any(Path(f"{stem}{suffix}").exists() for suffix in WEIGHT_SUFFIXES)
