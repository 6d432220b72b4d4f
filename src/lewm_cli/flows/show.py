"""Look up one dataset or run of the home."""

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from lewm_cli.data import Dataset, names_recording
from lewm_cli.errors import MissingError
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, Say, is_name, silent

if TYPE_CHECKING:
    from lewm_cli.train import RunDetails


def look_up(home: Home, name: str, external: ExternalWeights = NO_OPTIONS, say: Say = silent) -> "Dataset | RunDetails":
    """Find a run of this name, or else a dataset; raises LewmError if there is neither, or it is damaged."""
    if names_recording(name):
        return home.find_dataset(name)
    try:
        home.find_run(name)
    except MissingError:
        if not is_name(name) and not os.path.exists(name):
            raise
    else:
        return _run_details(home, name, external, say)
    try:
        return home.find_dataset(name)
    except MissingError:
        known = dict.fromkeys(known for known, _ in (*home.run_files(), *home.dataset_files()))
        raise MissingError(f"there is no run or dataset {name!r}; {home.offer(name, known)}") from None


def _run_details(home: Home, name: str, external: ExternalWeights, say: Say) -> "RunDetails":
    # Here and not above, for a recording is looked at without torch.
    from lewm_cli.flows.results import stored_results
    from lewm_cli.store import load_weights, stored_card, with_statistics
    from lewm_cli.train.run_details import run_details

    loaded = load_weights(home, name, external=external, say=say)
    # Nothing is computed unless it is asked for: to look at a run, its normalization need not be known.
    asked = external.stats_from
    card = stored_card(home, loaded) if asked is None else with_statistics(home, loaded, asked, say).card
    return run_details(home, replace(loaded, card=card), stored_results(home, loaded))
