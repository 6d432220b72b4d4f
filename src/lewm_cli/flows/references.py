"""References of an evaluation, one after the other, each with its progress and a journal of its own."""

from collections.abc import Mapping

from lewm_cli.diagnose import PlansBy, ReferenceDiagnostics
from lewm_cli.evaluate import Journal, Reference, References
from lewm_cli.flows.progress import Progress


def measure_references(
    diagnostics: ReferenceDiagnostics, title: str, progress: Progress, journals: Mapping[PlansBy, Journal]
) -> References:
    """Measure all of them.

    Args:
        diagnostics: of an evaluation that is finished.
        title: of the evaluation, for the progress.
        progress: shows what is done.
        journals: take every episode that is planned for, by the cost of its plans.
    """
    steps = len(diagnostics.pairs) * diagnostics.protocol.budget
    with progress(f"{title} (zero action)", steps, "steps") as advance:
        no_action = diagnostics.no_action(advance)

    def planned(by: PlansBy) -> Reference:
        with progress(f"{title} ({by})", steps, "steps") as advance:
            return diagnostics.plan(by, advance, journals[by])

    model = planned("model") if "model" in diagnostics.planned_by else None
    true_latent, true_state = planned("true latent"), planned("true state")
    with progress(f"{title} (ranking)", len(diagnostics.unsolved), "pairs") as advance:
        ranking = diagnostics.rank(advance)
    return diagnostics.result(no_action, model, true_latent, true_state, ranking)
