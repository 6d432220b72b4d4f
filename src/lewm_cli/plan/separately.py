"""Every environment planned for by itself, so that its plan is the same whatever others there are."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from lewm_cli.plan.cost import LatentCost
from lewm_cli.plan.plan import Plan
from lewm_cli.plan.solver import Solver
from lewm_cli.workers import available_cores


@dataclass(frozen=True)
class Separately:
    """A solver for a CPU: one environment after another on one thread per core, each of which computes alone.

    The plans are then the same, bit for bit, in any batch. One thread per matrix product as well would make them wait
    for each other.

    Args:
        solver: finds the plan for one environment.
    """

    solver: Solver

    def solve(self, cost: LatentCost, block_dim: int, generators: list[torch.Generator]) -> Plan:
        """Find one plan per environment; see `Solver`."""
        begun, stopped = time.monotonic(), threading.Event()
        with ThreadPoolExecutor(available_cores()) as pool:
            try:
                found = [
                    pool.submit(self.solver.solve, _Stoppable(cost, number, stopped), block_dim, [generator])
                    for number, generator in enumerate(generators)
                ]
                plans = [one.result() for one in found]
            except BaseException:
                stopped.set()  # the threads are waited for
                raise
        return Plan.join(plans, time.monotonic() - begun)


class _StoppedError(Exception):
    """Nobody waits for the plan any more."""


class _Stoppable(LatentCost):
    """The cost for one environment of several, until it is stopped."""

    def __init__(self, cost: LatentCost, number: int, stopped: threading.Event) -> None:
        one = slice(number, number + 1)
        super().__init__(cost.model, cost.start[one], cost.goal[one])
        self._stopped = stopped

    def __call__(self, candidates: Tensor) -> Tensor:
        if self._stopped.is_set():
            raise _StoppedError
        return super().__call__(candidates)
