"""One dataset or run of the home in detail, gathered from its files."""

import json
from dataclasses import dataclass

from pydantic import ValidationError

from lewm_cli.config import RunCard
from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.evaluate import EvalResult
from lewm_cli.model import ComponentProfile, profile
from lewm_cli.store import Home, RunFiles, load_run
from lewm_cli.train import HeldOut


@dataclass(frozen=True)
class DatasetDetails:
    """A recording."""

    dataset: Dataset


@dataclass(frozen=True)
class RunDetails:
    """A run: sizes, how it was trained, what was measured.

    Args:
        name: run name.
        files: where it lies.
        card: configuration, normalization, provenance.
        tensors: loaded strictly.
        components: parameters and FLOPs.
        held_out: the last measurement during training, if the log has one.
        results: evaluations, oldest first.
    """

    name: str
    files: RunFiles
    card: RunCard
    tensors: int
    components: tuple[ComponentProfile, ...]
    held_out: HeldOut | None
    results: tuple[EvalResult, ...]


def look_up(home: Home, name: str) -> DatasetDetails | RunDetails:
    """Look up a name; a run wins over a dataset of the same name.

    Raises:
        LewmError: nothing has this name, or it is damaged.
    """
    if name.endswith((".h5", ".hdf5")):
        return DatasetDetails(home.find_dataset(name))
    run_names = [known for known, _ in home.run_files()]
    dataset_names = [known for known, _ in home.dataset_files()]
    if name in dataset_names and name not in run_names:
        return DatasetDetails(home.find_dataset(name))
    try:
        return _run_details(home, name)
    except MissingError:
        everything = ", ".join(dict.fromkeys([*run_names, *dataset_names])) or "nothing yet"
        raise LewmError(f"there is no run or dataset {name!r}; there is {everything}") from None


def _run_details(home: Home, name: str) -> RunDetails:
    run = load_run(home, name)
    folders = {run.files.results, RunFiles(home.new_run_stem(name)).results}
    results = []
    for path in sorted((path for folder in folders for path in folder.glob("eval-*.json")), key=lambda path: path.name):
        try:
            results.append(EvalResult.model_validate_json(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            raise LewmError(f"{path} is not a result of this version of lewm; remove it or measure again") from error
    return RunDetails(
        name, run.files, run.card, run.tensors, profile(run.model), _last_held_out(run.files), tuple(results)
    )


def _last_held_out(files: RunFiles) -> HeldOut | None:
    if not files.log.exists():
        return None
    events = (json.loads(line) for line in files.log.read_text(encoding="utf-8").splitlines())
    measured = [event["held_out"] for event in events if event["event"] == "HeldOutMeasured"]
    return HeldOut(**measured[-1]) if measured else None
