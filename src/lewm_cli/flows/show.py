"""Look up one dataset or run of the home."""

from collections.abc import Callable, Iterator

from lewm_cli.data import DATASET_SUFFIXES
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.flows.results import stored_results
from lewm_cli.heads import KINDS, fit_command, read_head
from lewm_cli.model import profile
from lewm_cli.report import DatasetDetails, HeadDetails, RunDetails
from lewm_cli.store import (
    NO_OPTIONS,
    ExternalWeights,
    Home,
    LoadedWeights,
    RunFiles,
    head_paths,
    load_weights,
    silent,
    stored_card,
    with_statistics,
)
from lewm_cli.train import read_log


def look_up(
    home: Home,
    name: str,
    external: ExternalWeights = NO_OPTIONS,
    say: Callable[[str], None] = silent,
) -> DatasetDetails | RunDetails:
    """Find out what a name stands for; a run wins over a dataset of the same name.

    Args:
        home: where to look.
        name: of a run or a dataset, or path of an HDF5 file.
        external: how weights of another tool are read.
        say: told what was found and computed.

    Raises:
        LewmError: nothing has this name, or it is damaged.
    """
    if name.endswith(DATASET_SUFFIXES):
        return DatasetDetails(home.find_dataset(name))
    try:
        loaded = load_weights(home, name, external=external, say=say)
    except MissingError:
        pass
    else:
        return _run_details(home, loaded, external.stats_from, say)
    try:
        return DatasetDetails(home.find_dataset(name))
    except MissingError:
        files = (*home.run_files(), *home.dataset_files())
        everything = ", ".join(dict.fromkeys(known for known, _ in files)) or "nothing yet"
        raise MissingError(f"there is no run or dataset {name!r}; there is {everything}") from None


def _heads(home: Home, loaded: LoadedWeights) -> Iterator[HeadDetails]:
    """The heads of a run; what is wrong with one is said, and keeps from nothing else."""
    places = (RunFiles(home.noting_stem(loaded.name, loaded.files.stem)), loaded.files)
    for kind in KINDS:
        for path in head_paths(places, kind):
            if not path.exists():
                continue
            try:
                stored = read_head(path, kind, fit_command(loaded.name, kind))
            except LewmError as error:
                yield HeadDetails(kind, path, None, str(error))
                continue
            older = stored.fit.weights_sha256 != loaded.sha256
            problem = f"fitted to other weights; fit it again: {fit_command(loaded.name, kind)}" if older else None
            yield HeadDetails(kind, path, stored.fit, problem)


def _run_details(home: Home, loaded: LoadedWeights, stats_from: str | None, say: Callable[[str], None]) -> RunDetails:
    # Nothing is computed unless it is asked for: to look at a run, its normalization need not be known.
    card = stored_card(home, loaded) if stats_from is None else with_statistics(home, loaded, stats_from, say).card
    measured = read_log(loaded.files.log).held_out
    return RunDetails(
        name=loaded.name,
        files=loaded.files,
        model=loaded.model.config,
        block_dim=loaded.model.block_dim,
        card=card,
        tensors=loaded.tensors,
        source=loaded.source,
        components=profile(loaded.model),
        held_out=measured[-1].held_out if measured else None,
        results=stored_results(home, loaded),
        heads=tuple(_heads(home, loaded)),
    )
