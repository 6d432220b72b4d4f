"""The solvers by name."""

from lewm_cli.config import PlannerConfig, SolverName
from lewm_cli.plan.cem import CEM
from lewm_cli.plan.cem_gd import CEMGD
from lewm_cli.plan.gradient import Gradient
from lewm_cli.plan.icem import ICEM
from lewm_cli.plan.mppi import MPPI
from lewm_cli.plan.random_shooting import RandomShooting
from lewm_cli.plan.recorded_sequences import Recorded
from lewm_cli.plan.search import IterativeSolver

SOLVERS: dict[SolverName, type[IterativeSolver]] = {
    "cem": CEM,
    "icem": ICEM,
    "mppi": MPPI,
    "random-shooting": RandomShooting,
    "gradient": Gradient,
    "cem-gd": CEMGD,
    "recorded": Recorded,
    "recorded-random": Recorded,
}


def find_solver(config: PlannerConfig, *, record: bool = False) -> IterativeSolver:
    """Build the solver that a configuration names; for `record` see `IterativeSolver`."""
    return SOLVERS[config.solver](config, record)
