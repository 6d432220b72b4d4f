"""Look up one dataset or run of the home."""

from lewm_cli.errors import MissingError
from lewm_cli.flows.results import stored_results
from lewm_cli.model import profile
from lewm_cli.report import DatasetDetails, RunDetails
from lewm_cli.store import Home, load_run
from lewm_cli.store.names import DATASET_SUFFIXES
from lewm_cli.train import read_log


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
    measured = read_log(run.files.log).held_out
    return RunDetails(
        name=name,
        files=run.files,
        card=run.card,
        tensors=run.tensors,
        components=profile(run.model),
        held_out=measured[-1].held_out if measured else None,
        results=stored_results(home, run),
    )
