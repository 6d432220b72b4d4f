"""What a solver is."""

from typing import Protocol

from lewm_cli.plan.plan import Plan
from lewm_cli.plan.problem import Problem


class Solver(Protocol):
    """Finds one plan per environment, all environments in one batch."""

    def solve(self, problem: Problem) -> Plan:
        """Find plans of low cost."""
        ...
