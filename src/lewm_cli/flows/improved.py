"""The planner that `lewm improve` chose for a run, as settings that lie over those of a protocol."""

from collections.abc import Iterable

from lewm_cli.config import Layer
from lewm_cli.data import Dataset
from lewm_cli.evaluate import ImproveResult, PlannerChoice
from lewm_cli.flows.results import result_paths, results_folders, stored_results
from lewm_cli.simulate import Pair
from lewm_cli.store import Home, Run, Say, head_paths, weights_digest
from lewm_cli.suggestion import command


def chosen_planner(home: Home, run: Run) -> PlannerChoice | None:
    """The newest choice for a run's present weights; None if there is none, or nothing was better than the protocol."""
    found = _newest(home, run)
    return found.chosen if found else None


def improved_planner(home: Home, run: Run, say: Say, *, plain: bool) -> tuple[Layer, ...]:
    """That choice as a layer, said in one line; empty if there is none.

    Args:
        plain: the protocol's planner is asked for.
    """
    if plain:
        return ()
    anew, found = f"choose anew: {command('improve', run.name)}", _newest(home, run)
    if found is None and result_paths(results_folders(home, run.name, run.files), ["improve"]):
        say(f"note: what lewm improve chose for {run.name} is of other weights or of another version; {anew}")
    if found is None or found.chosen is None:
        return ()
    chosen = found.chosen
    say(f"planner: {chosen}, as lewm improve chose for {run.name}; the protocol's with --plain")
    tried = next(one for one in found.validation.tried if one.choice == chosen)
    for kind, digest in (("reach", tried.head_sha256), ("prior", tried.prior_sha256)):
        path = next((path for path in head_paths(run.places, kind) if path.exists()), None)
        if digest and path and weights_digest(path) != digest:  # one that is gone is reported where it is asked
            say(f"note: the {kind} head was fitted anew since then; {anew}")
    return (chosen.layer(f"the planner that lewm improve chose for {run.name}"),)


def count_chosen_by(home: Home, run: Run, pairs: Iterable[Pair], dataset: Dataset) -> int:
    """Count the episodes of these pairs of a recording by which the run's planner was chosen."""
    found = _newest(home, run)
    if found is None or found.chosen is None or found.validation.dataset.fingerprint != dataset.identity.fingerprint:
        return 0
    return len(found.validation.episodes & {pair.episode for pair in pairs})


def _newest(home: Home, run: Run) -> ImproveResult | None:
    return stored_results(home, run, ["improve"]).newest(ImproveResult)
