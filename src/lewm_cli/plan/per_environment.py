"""Plans for every environment by itself, so that its plan is the same whatever others there are."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lewm_cli.plan.cost import Cost
from lewm_cli.plan.plan import Plan
from lewm_cli.plan.problem import Problem
from lewm_cli.plan.search import Solver
from lewm_cli.workers import available_cores


@dataclass(frozen=True)
class PerEnvironment:
    """A solver for a CPU: one environment after another on one thread per core, each of which computes alone.

    The plans are then the same, bit for bit, in any batch. One thread per matrix product as well would make them wait
    for each other.

    Args:
        solver: finds the plan for one environment.
    """

    solver: Solver

    def solve(self, problem: Problem) -> Plan:
        """Find one plan per environment; see `Solver`."""
        if problem.cost.environments == 1:
            return self.solver.solve(problem)
        begun, stopped = time.monotonic(), threading.Event()
        alone = [problem.of(number) for number in range(problem.cost.environments)]
        with ThreadPoolExecutor(available_cores()) as pool:
            try:
                found = [
                    pool.submit(self.solver.solve, replace(one, cost=_Stoppable(one.cost, stopped))) for one in alone
                ]
                plans = [one.result() for one in found]
            except BaseException:
                stopped.set()  # the threads are waited for
                raise
        return Plan.join(plans, time.monotonic() - begun)


class _StoppedError(Exception):
    """Nobody waits for the plan any more."""


@dataclass(frozen=True)
class _Stoppable:
    """A cost that can be stopped from another thread."""

    cost: Cost
    stopped: threading.Event

    @property
    def environments(self) -> int:
        return self.cost.environments

    @property
    def device(self) -> torch.device:
        return self.cost.device

    def __call__(self, candidates: Tensor) -> Tensor:
        if self.stopped.is_set():
            raise _StoppedError
        return self.cost(candidates)

    def of(self, number: int) -> Cost:
        return self.cost.of(number)
