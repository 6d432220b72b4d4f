"""Plans for every environment by itself, so that its plan is the same whatever others there are."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Event

from lewm_cli.plan.problem import Plan, Problem
from lewm_cli.plan.search import Solver
from lewm_cli.workers import available_cores


@dataclass(frozen=True)
class PerEnvironment:
    """A solver for a CPU: one environment after another on one thread per core, each of which computes alone.

    The plans are then the same, bit for bit, in any batch. More threads per matrix product would only make these wait.
    """

    solver: Solver

    def solve(self, problem: Problem) -> Plan:
        """See `Solver`."""
        if problem.cost.environments == 1:
            return self.solver.solve(problem)
        begun, cancelled = time.monotonic() - problem.spent, Event()
        alone = [replace(problem.of(number), cancelled=cancelled) for number in range(problem.cost.environments)]
        with ThreadPoolExecutor(available_cores()) as threads:
            try:
                plans = list(threads.map(self.solver.solve, alone))
            except BaseException:
                cancelled.set()  # the threads are waited for
                raise
        return Plan.join(plans, time.monotonic() - begun)
