"""Checks everything in the home, or one name."""

import os
from functools import partial
from pathlib import Path

from lewm_cli.data import Problem, holds_frames, names_recording
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.flows import Progress
from lewm_cli.flows.results import KINDS, results_folders
from lewm_cli.flows.rm import find_named
from lewm_cli.store import Home, Say
from lewm_cli.suggestion import command
from lewm_cli.verify import Check, RunCheck, check_dataset, check_run


def verify(home: Home, name: str | None, say: Say, progress: Progress) -> list[Check]:
    """Check runs and datasets; a damaged one does not keep from looking at the next.

    Args:
        name: of a run, of a dataset or of both; or path of an HDF5 file. None for everything.

    Raises:
        UsageError: it is no name.
        MissingError: nothing has this name.
        LewmError: there is nothing, and a folder cannot be searched.
    """
    checks: list[Check] = []
    if name is None:
        runs, datasets = list(home.runs()), list(home.dataset_files())
        blocked = list(home.unreadable())
        if blocked and not runs and not datasets:
            raise LewmError("; ".join(blocked))
    elif os.path.isfile(name) and holds_frames(Path(name)):  # never an error, however long the name is
        measured = command("surprise", name, "--actions", "FILE")
        raise LewmError(f"{name} is a video or an image, and holds no actions to check; measure it with: {measured}")
    elif os.path.lexists(name) and names_recording(name):
        runs, datasets = [], [(str(Path(name).absolute()), Path(name).absolute())]
    else:
        try:
            run, dataset = find_named(home, home.run_name(name))
        except MissingError:
            if os.path.lexists(name):
                home.find_dataset(name)  # says what it is
            raise
        runs, datasets = [run] if run else [], [(name, dataset)] if dataset else []
    # Runs first: they take a moment, and frames take long.
    for run in runs:
        say(f"looking at run {run.name}")
        if run.problem:
            checks.append(RunCheck(name=run.name, path=run.files.weights, findings=[Problem(run.problem)]))
        else:
            checks.append(check_run(run.name, run.files, results_folders(home, run.name, run.files), KINDS))
    for each, path in datasets:
        checks.append(check_dataset(each, path, partial(progress, f"decoding {each}", unit="rows")))
    return checks
