"""What plans of a run are judged by: the one place that makes it of what the planner's configuration names."""

from dataclasses import dataclass

from lewm_cli.config import PlannerConfig
from lewm_cli.plan import LastLatent, Objective, ProbedPosition, Reachability, WholePath
from lewm_cli.store import ONLY, SHUFFLED, Run, find_head


@dataclass(frozen=True)
class Judge:
    """An objective and where it comes from.

    Args:
        objective: what plans cost.
        head_sha256: of the file of the head that it asks, if it asks one.
    """

    objective: Objective
    head_sha256: str | None = None


def find_judge(run: Run, planner: PlannerConfig) -> Judge:
    """The objective that a planner names, on the device of the run.

    Raises:
        MissingError: it needs a head that was not fitted yet; the error says what to type.
        LewmError: that head is damaged, or was fitted to other weights.
    """
    match planner.objective:
        case "last":
            return Judge(LastLatent(run.model))
        case "path":
            return Judge(WholePath(run.model))
        case "probe":
            stored = find_head(run, "probe")
            return Judge(ProbedPosition(stored.heads[ONLY].to(run.device)), stored.sha256)
        case "reach" | "reach-shuffled":
            stored = find_head(run, "reach")
            head = stored.heads[ONLY if planner.objective == "reach" else SHUFFLED]
            return Judge(Reachability(head.to(run.device)), stored.sha256)
