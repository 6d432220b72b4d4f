"""The planner that `lewm improve` chose for a run, as settings that lie over those of a protocol."""

from lewm_cli.config import Layer
from lewm_cli.evaluate import ImproveResult
from lewm_cli.flows.results import stored_results
from lewm_cli.model import WorldModel
from lewm_cli.store import Home, Run, Say


def improved_planner(home: Home, run: Run, say: Say, *, plain: bool) -> tuple[Layer, ...]:
    """The choice for a run's present weights, said in one line; empty if there is none.

    Args:
        plain: the protocol's planner is asked for.
    """
    if plain or not isinstance(run.model, WorldModel):
        return ()
    found = stored_results(home, run, ["improve"]).newest(ImproveResult)
    if found is None or found.chosen is None:
        return ()
    say(f"planner: {found.chosen}, as lewm improve chose for {run.name}; the protocol's with --plain")
    return (found.chosen.layer(f"the planner that lewm improve chose for {run.name}"),)
