"""Planning in latent space: what a plan costs, how one is found, how it is followed."""

from lewm_cli.plan.cem import CEM
from lewm_cli.plan.cost import Cost, LatentCost
from lewm_cli.plan.objective import LastLatent, Objective, ProbedPosition, Reachability, WholePath
from lewm_cli.plan.plan import Iteration, Plan
from lewm_cli.plan.problem import Problem
from lewm_cli.plan.separately import Separately
from lewm_cli.plan.settings import task_planner
from lewm_cli.plan.solver import Solver

__all__ = [
    "CEM",
    "Cost",
    "Iteration",
    "LastLatent",
    "LatentCost",
    "Objective",
    "Plan",
    "ProbedPosition",
    "Problem",
    "Reachability",
    "Separately",
    "Solver",
    "WholePath",
    "task_planner",
]
