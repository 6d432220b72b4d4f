"""The solvers there are, by name."""

from lewm_cli.config import PlannerConfig, SolverName
from lewm_cli.plan.cem import CEM
from lewm_cli.plan.cem_gd import CEMGD
from lewm_cli.plan.gradient import Gradient
from lewm_cli.plan.icem import ICEM
from lewm_cli.plan.mppi import MPPI
from lewm_cli.plan.random_shooting import RandomShooting
from lewm_cli.plan.search import Search

SOLVERS: dict[SolverName, type[Search]] = {
    "cem": CEM,
    "icem": ICEM,
    "mppi": MPPI,
    "random-shooting": RandomShooting,
    "gradient": Gradient,
    "cem-gd": CEMGD,
}


def find_solver(config: PlannerConfig, *, remember: bool = False) -> Search:
    """The solver that a configuration names.

    Args:
        config: of the search.
        remember: keep every iteration's candidates in the plan, for pictures; they take memory.
    """
    return SOLVERS[config.solver](config, remember)
