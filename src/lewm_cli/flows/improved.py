"""The planner that `lewm improve` chose for a run, as settings that lie over those of a protocol."""

from lewm_cli.config import Layer
from lewm_cli.evaluate import ImproveResult, PlannerChoice
from lewm_cli.flows.results import stored_results
from lewm_cli.store import Home, Run, Say


def chosen_planner(home: Home, run: Run) -> PlannerChoice | None:
    """The newest choice for a run's present weights; None if there is none, or nothing was better than the protocol."""
    found = stored_results(home, run, ["improve"]).newest(ImproveResult)
    return found.chosen if found else None


def improved_planner(home: Home, run: Run, say: Say, *, plain: bool) -> tuple[Layer, ...]:
    """That choice as a layer, said in one line; empty if there is none.

    Args:
        plain: the protocol's planner is asked for.
    """
    chosen = None if plain else chosen_planner(home, run)
    if chosen is None:
        return ()
    say(f"planner: {chosen}, as lewm improve chose for {run.name}; the protocol's with --plain")
    return (chosen.layer(f"the planner that lewm improve chose for {run.name}"),)
