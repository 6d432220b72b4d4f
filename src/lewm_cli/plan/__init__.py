"""Planning in latent space: what a plan costs, how one is found, how it is followed."""

from lewm_cli.plan.cem import CEM
from lewm_cli.plan.cost import Cost, LatentCost
from lewm_cli.plan.objective import LastLatent, Objective, ProbedPosition, Reachability, WholePath
from lewm_cli.plan.plan import Guess, Iteration, Plan
from lewm_cli.plan.problem import Bounds, Problem
from lewm_cli.plan.separately import Separately, separately_on_cpu
from lewm_cli.plan.settings import single_planner, task_planner, varying
from lewm_cli.plan.solver import Solver
from lewm_cli.plan.solvers import SOLVERS, find_solver

__all__ = [
    "CEM",
    "SOLVERS",
    "Bounds",
    "Cost",
    "Guess",
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
    "find_solver",
    "separately_on_cpu",
    "single_planner",
    "task_planner",
    "varying",
]
