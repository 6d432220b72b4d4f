"""Removes runs and datasets of the home: all that are named, or none."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from lewm_cli.errors import LewmError, MissingError, StoppedError, UsageError
from lewm_cli.flows.lookup import Named, find_named
from lewm_cli.stop import StopRequest
from lewm_cli.store import FoundRun, Home, RunFiles, check_name, names_release
from lewm_cli.store.removal import Removal, plan_dataset_removal, plan_run_removal, remove


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
        # Copies of one recording share their packed frames, and a run may be named twice.
        claimed = {file for earlier in removals for file in earlier.files}
        files = tuple(file for file in removal.files if file not in claimed)
        if files or not removal.files:
            removals.append(replace(removal, files=files))
    return tuple(removals)


def remove_all(home: Home, removals: Sequence[Removal], say: Callable[[str], None]) -> None:
    """Remove what was planned, one after the other; Ctrl-C stops between two of them.

    Raises:
        LewmError: another process writes one of them, or it has changed.
        StoppedError: Ctrl-C or SIGTERM.
    """
    with StopRequest() as stop:
        for number, removal in enumerate(removals):
            if stop.signal_number is not None:
                left = ", ".join(removal.name for removal in removals[number:])
                raise StoppedError(f"stopped; still there: {left}", stop.signal_number)
            remove(home, removal)
            others = dict(home.run_files() if removal.kind == "run" else home.dataset_files())
            if removal.name in others:
                say(f"{removal.name} is now the {removal.kind} at {others[removal.name]}")


def _plan(home: Home, name: str, kind: str | None) -> Removal:
    named = _named(home, name, kind)
    if named.run and named.dataset and kind is None:
        raise UsageError(f"{name!r} is both a run and a dataset; say which with --run or --dataset")
    if named.run and kind != "dataset":
        if named.run.problem:
            raise LewmError(named.run.problem)
        return plan_run_removal(home, named.run.name, named.run.files)
    if named.dataset and kind != "run":
        return plan_dataset_removal(home, name, named.dataset)
    raise UsageError(f"{name!r} is no {kind} but a {'run' if named.run else 'dataset'}; leave out --{kind}")


def _named(home: Home, name: str, kind: str | None) -> Named:
    try:
        named = find_named(home, name)
        if named.run and named.run.name != name and not names_release(name):
            # An alias may be looked at, but not removed under the other name.
            raise MissingError(f"there is no run or dataset {name!r}; did you mean {named.run.name!r}?")
        return named
    except LewmError as error:
        # A training that was killed before it saved weights leaves a folder, which takes the name.
        if not isinstance(error, UsageError) and kind != "dataset":
            left = RunFiles(home.new_run_stem(check_name(name, "run")))
            if left.folder.is_dir():
                return Named(name, FoundRun(name, left, "lewm"), None)
        raise
