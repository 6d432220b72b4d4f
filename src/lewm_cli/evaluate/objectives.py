"""What plans of a run are judged by: the one place that makes it of what the planner's configuration names."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lewm_cli.config import PlannerConfig
from lewm_cli.heads import FITTED, SHUFFLED, find_head
from lewm_cli.model import Imaginer
from lewm_cli.plan import LastLatent, LatentCost, Objective, ProbedPosition, Reachability, WholePath
from lewm_cli.store import Run


@dataclass(frozen=True)
class Judge:
    """What candidates of a run cost.

    Args:
        run: imagines where they lead.
        objective: judges that.
        dtype: of the model's matrix products while it imagines.
        history: steps that it looks back at, if fewer than it can.
        head_sha256: of the file of the head that the objective asks, if it asks one.
    """

    run: Run
    objective: Objective
    dtype: torch.dtype
    history: int | None
    head_sha256: str | None = None

    @cached_property
    def imagine(self) -> Imaginer:
        """What imagines, with the weights that the run had when it was first asked to."""
        return self.run.model.imaginer(self.dtype, self.history)

    def cost(self, starts: Tensor, goals: Tensor) -> LatentCost:
        """The cost for E environments.

        Args:
            starts, goals: (E, D) latents of the frames now and of the goals.
        """
        return LatentCost(self.run.model, starts.unsqueeze(1), goals, self.objective, self.imagine)


def find_judge(run: Run, planner: PlannerConfig) -> Judge:
    """What a planner names, on the device of the run.

    Args:
        run: whose candidates are judged.
        planner: `settled` for that run.

    Raises:
        MissingError: it needs a head that was not fitted yet; the error says what to type.
        LewmError: that head is damaged, or was fitted to other weights.
    """
    how: tuple[torch.dtype, int | None] = getattr(torch, planner.precision), planner.history
    match planner.objective:
        case "last":
            return Judge(run, LastLatent(run.model), *how)
        case "path":
            return Judge(run, WholePath(run.model), *how)
        case "probe":
            stored = find_head(run, "probe")
            return Judge(run, ProbedPosition(stored.networks[FITTED].to(run.device)), *how, stored.sha256)
        case "reach" | "reach-shuffled":
            stored = find_head(run, "reach")
            head = stored.networks[FITTED if planner.objective == "reach" else SHUFFLED]
            return Judge(run, Reachability(head.to(run.device)), *how, stored.sha256)
