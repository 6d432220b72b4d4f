"""Runs and datasets by name, found without opening them: for commands that take damaged files too."""

from dataclasses import dataclass
from pathlib import Path

from lewm_cli.config import nearest
from lewm_cli.errors import MissingError
from lewm_cli.store import FoundRun, Home, check_name


@dataclass(frozen=True)
class Named:
    """The run, under its own name, and the file of the dataset for a name as typed; None where there is none."""

    name: str
    run: FoundRun | None
    dataset: Path | None


def find_named(home: Home, name: str) -> Named:
    """Find a run and a dataset by name, as `lewm ls` lists them; or else a run by an alias, or a state of one.

    Raises:
        UsageError: it is no name; the error says which to type.
        MissingError: there is neither; the nearest name is offered.
        LewmError: the run does not have such a state.
    """
    for kind in ("run", "dataset"):
        check_name(name, kind)
    runs, datasets = {run.name: run for run in home.runs()}, dict(home.dataset_files())
    if name in runs or name in datasets:
        return Named(name, runs.get(name), datasets.get(name))
    try:
        return Named(name, home.find_run(name), None)
    except MissingError:
        near = nearest(name, [*runs, *datasets])
        hint = f"did you mean {near!r}?" if near else "`lewm ls` lists what there is"
        raise MissingError(f"there is no run or dataset {name!r}; {hint}") from None
