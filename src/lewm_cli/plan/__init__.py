"""Planning in latent space: costs of action sequences, and solvers that search for cheap ones."""

from lewm_cli.plan.cost import Cost, LastLatent, LatentCost, Objective, ProbedPosition, Reachability, WholePath
from lewm_cli.plan.per_environment import PerEnvironment
from lewm_cli.plan.problem import Bounds, Iteration, Plan, Prior, Problem, WarmStart
from lewm_cli.plan.search import Solver
from lewm_cli.plan.solvers import find_solver

__all__ = [
    "Bounds",
    "Cost",
    "Iteration",
    "LastLatent",
    "LatentCost",
    "Objective",
    "PerEnvironment",
    "Plan",
    "Prior",
    "ProbedPosition",
    "Problem",
    "Reachability",
    "Solver",
    "WarmStart",
    "WholePath",
    "find_solver",
]
