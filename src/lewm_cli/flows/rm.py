"""Removes runs and datasets of the home: all that are named, or none."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lewm_cli.errors import LewmError, MissingError, StoppedError, UsageError
from lewm_cli.stop import StopRequest
from lewm_cli.store import FoundRun, Home, RunFiles, Say, check_name, names_release
from lewm_cli.store.removal import Removal, plan_dataset_removal, plan_run_removal, remove
from lewm_cli.suggestion import few


def find_named(home: Home, name: str) -> tuple[FoundRun | None, Path | None]:
    """Find a run and the file of a dataset, as `lewm ls` lists them; or else a run by an alias, or a state of one.

    They are not opened: this is for commands that take damaged files too.

    Raises:
        UsageError: it is no name; the error says which to type.
        MissingError: there is neither; the nearest name is offered.
        LewmError: the run does not have such a state.
    """
    for kind in ("run", "dataset"):
        check_name(name, kind)
    runs, datasets = {run.name: run for run in home.runs()}, dict(home.dataset_files())
    if name in runs or name in datasets:
        return runs.get(name), datasets.get(name)
    try:
        return home.find_run(name), None
    except MissingError:
        raise MissingError(f"there is no run or dataset {name!r}; {home.offer(name, (*runs, *datasets))}") from None


def plan_removals(home: Home, names: Sequence[str], kind: str | None) -> tuple[Removal, ...]:
    """List everything that would go; `kind` is "run" or "dataset", where a name is both.

    Raises:
        UsageError: a name is none, or is both a run and a dataset.
        MissingError: nothing has a name; the nearest is offered.
        LewmError: something lies outside the home, or may not be removed, or several checkpoints go by the name.
    """
    removals: list[Removal] = []
    for name in dict.fromkeys(names):
        removal = _plan(home, name, kind)
        # A run may be named twice.
        claimed = {file for earlier in removals for file in earlier.files}
        files = tuple(file for file in removal.files if file not in claimed)
        if files or not removal.files:
            removals.append(replace(removal, files=files))
    return tuple(removals)


def remove_all(home: Home, removals: Sequence[Removal], say: Say) -> None:
    """Remove what was planned, one after the other; Ctrl-C stops between two of them.

    Raises:
        LewmError: another process writes one of them, or it has changed.
        StoppedError: Ctrl-C or SIGTERM.
    """
    with StopRequest() as stop:
        for number, removal in enumerate(removals):
            if stop.signal_number is not None:
                left = few(removal.name for removal in removals[number:])
                raise StoppedError(f"stopped; still there: {left}", stop.signal_number)
            remove(home, removal)
            others = dict(home.run_files() if removal.kind == "run" else home.dataset_files())
            if removal.name in others:
                say(f"{removal.name} is now the {removal.kind} at {others[removal.name]}")


def _plan(home: Home, name: str, kind: str | None) -> Removal:
    try:
        run, dataset = find_named(home, name)
        if run and run.name != name and not names_release(name):
            # An alias may be looked at, but not removed under the other name.
            raise MissingError(f"there is no run or dataset {name!r}; did you mean {run.name!r}?")
    except UsageError:
        raise
    except LewmError:
        # A training that was killed before it saved weights leaves a folder, which takes the name.
        left = RunFiles(home.new_run_stem(check_name(name, "run")))
        if kind == "dataset" or not left.folder.is_dir():
            raise
        return plan_run_removal(home, name, left)
    if run and dataset and kind is None:
        raise UsageError(f"{name!r} is both a run and a dataset; say which with --run or --dataset")
    if run and kind != "dataset":
        if run.problem:
            raise LewmError(run.problem)
        return plan_run_removal(home, run.name, run.files)
    if dataset and kind != "run":
        return plan_dataset_removal(home, name, dataset)
    raise UsageError(f"{name!r} is no {kind} but a {'run' if run else 'dataset'}; leave out --{kind}")
