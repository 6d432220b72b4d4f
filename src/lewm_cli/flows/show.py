"""Look up one dataset or run of the home."""

import json
from pathlib import Path

from pydantic import ValidationError

from lewm_cli.errors import MissingError
from lewm_cli.evaluate import EvalResult
from lewm_cli.model import profile
from lewm_cli.report import DatasetDetails, RunDetails
from lewm_cli.store import Home, RunFiles, load_run
from lewm_cli.store.names import DATASET_SUFFIXES
from lewm_cli.train import HeldOut


def look_up(home: Home, name: str) -> DatasetDetails | RunDetails:
    """Find out what a name stands for; a run wins over a dataset of the same name.

    Raises:
        LewmError: nothing has this name, or it is damaged.
    """
    if name.endswith(DATASET_SUFFIXES):
        return DatasetDetails(home.find_dataset(name))
    try:
        return _run_details(home, name)
    except MissingError:
        pass
    try:
        return DatasetDetails(home.find_dataset(name))
    except MissingError:
        files = (*home.run_files(), *home.dataset_files())
        everything = ", ".join(dict.fromkeys(known for known, _ in files)) or "nothing yet"
        raise MissingError(f"there is no run or dataset {name!r}; there is {everything}") from None


def _run_details(home: Home, name: str) -> RunDetails:
    run = load_run(home, name)
    results, unreadable = _results(home, run.files, name)
    parts = profile(run.model)
    return RunDetails(name, run.files, run.card, run.tensors, parts, _last_held_out(run.files), results, unreadable)


def _results(home: Home, files: RunFiles, name: str) -> tuple[tuple[EvalResult, ...], tuple[Path, ...]]:
    folders = {files.results, RunFiles(home.new_run_stem(name)).results}
    results, unreadable = [], []
    for path in sorted((path for folder in folders for path in folder.glob("eval-*.json")), key=lambda path: path.name):
        try:
            results.append(EvalResult.model_validate_json(path.read_text(encoding="utf-8")))
        except ValidationError:
            unreadable.append(path)
    return tuple(results), tuple(unreadable)


def _last_held_out(files: RunFiles) -> HeldOut | None:
    if not files.log.exists():
        return None
    lines = [line for line in files.log.read_text(encoding="utf-8").splitlines() if '"HeldOutMeasured"' in line]
    for line in reversed(lines):
        try:
            return HeldOut(**json.loads(line)["held_out"])
        except (ValueError, KeyError, TypeError):
            continue  # cut short by a kill
    return None
