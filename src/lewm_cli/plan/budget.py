"""The budget of one plan, in time and in operations."""

import time

from torch import Tensor

from lewm_cli.config import PlannerConfig
from lewm_cli.errors import LewmError
from lewm_cli.model import PlanFlops
from lewm_cli.plan.problem import Problem


class Budget:
    """Says before an iteration if there is time and if there are operations left for it.

    Attributes:
        begun: when planning began, by the monotonic clock: before the problem was ready to be searched.
        model: operations that the model takes, 0 where they are not known.

    Raises:
        LewmError: operations are limited, and those of the model are not known.
    """

    def __init__(self, config: PlannerConfig, problem: Problem) -> None:
        flops = problem.flops
        if config.flops is not None and flops is None:
            raise LewmError("operations are limited, and nobody counts those of this cost; set planner.milliseconds")
        self._read = time.monotonic()
        self.begun = self._read - problem.spent
        self._took = 0.0
        self.model, self._limit = flops or PlanFlops(0, 0), config.flops
        self._seconds = None if config.milliseconds is None else config.milliseconds / 1000
        self._spent = self.model.images

    def allows(self, flops: int, iterations: int = 1) -> bool:
        """Check that so many more iterations of so many operations each are within the limits."""
        if self._limit is not None and self._spent + iterations * flops > self._limit:
            return False
        return self._seconds is None or time.monotonic() - self.begun + iterations * self._took <= self._seconds

    def spend(self, flops: int, costs: Tensor) -> None:
        """Count an iteration of so many operations, which ended with these costs."""
        self._spent += flops
        if self._seconds is not None:
            costs[:1].cpu()  # a device may still compute them
            now = time.monotonic()
            self._read, self._took = now, now - self._read
