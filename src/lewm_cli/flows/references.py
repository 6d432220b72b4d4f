"""References of an evaluation, one after the other, each with its progress and a journal of its own."""

from collections.abc import Mapping

from lewm_cli.evaluate import Journal, PlansBy, Referee, Reference, References
from lewm_cli.flows.progress import Progress


def measure_references(
    referee: Referee, title: str, progress: Progress, journals: Mapping[PlansBy, Journal]
) -> References:
    """Measure all of them.

    Args:
        referee: of an evaluation that is finished.
        title: of the evaluation, for the progress.
        progress: shows what is done.
        journals: take every episode that is planned for, by what it is planned by.
    """
    steps = len(referee.pairs) * referee.protocol.budget
    with progress(f"{title} (zero action)", steps, "steps") as advance:
        zero_action = referee.stand_still(advance)

    def planned(by: PlansBy) -> Reference:
        with progress(f"{title} ({by})", steps, "steps") as advance:
            return referee.plan(by, advance, journals[by])

    model = planned("model") if "model" in referee.planned_by else None
    true_latent, true_state = planned("true latent"), planned("true state")
    with progress(f"{title} (ranking)", len(referee.unsolved), "pairs") as advance:
        ranking = referee.rank(advance)
    return referee.conclude(zero_action, model, true_latent, true_state, ranking)
