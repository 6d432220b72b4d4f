"""The objective that a planner's configuration names, with the head of the run that it needs."""

from typing import NamedTuple

from lewm_cli.config import PlannerConfig
from lewm_cli.heads import FITTED, SHUFFLED, find_head
from lewm_cli.plan import LastLatent, Objective, ProbedPosition, Reachability, WholePath
from lewm_cli.store import Run


class RunObjective(NamedTuple):
    """An objective of a run, and the sha256 of the file of its head, if it uses one."""

    objective: Objective
    head_sha256: str | None = None


def find_objective(run: Run, planner: PlannerConfig) -> RunObjective:
    """Build the objective that a planner names, on the device of the run.

    Raises:
        MissingError: it needs a head that was not fitted yet; the error says what to type.
        LewmError: that head is damaged, or was fitted to other weights.
    """
    match planner.objective:
        case "last":
            return RunObjective(LastLatent(run.model))
        case "path":
            return RunObjective(WholePath(run.model))
        case "probe":
            stored = find_head(run, "probe")
            return RunObjective(ProbedPosition(stored.networks[FITTED].to(run.device)), stored.sha256)  # type: ignore[arg-type]
        case "reach" | "reach-shuffled":
            stored = find_head(run, "reach")
            head = stored.networks[FITTED if planner.objective == "reach" else SHUFFLED]
            return RunObjective(Reachability(head.to(run.device)), stored.sha256)  # type: ignore[arg-type]
