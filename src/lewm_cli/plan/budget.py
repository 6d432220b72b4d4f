"""What may be spent on a plan, in iterations, operations and time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lewm_cli.config import PlannerConfig
from lewm_cli.errors import LewmError
from lewm_cli.model import PlanFlops


@dataclass(frozen=True)
class Effort:
    """What an iteration asks for.

    Args:
        candidates: whose cost it asks.
        gradient: whether it asks how their cost changes with them as well.
    """

    candidates: int
    gradient: bool = False


class Budget:
    """Tells before an iteration whether it may be made; one always may.

    Args:
        config: limits of time and operations.
        flops: of the model, if somebody knows.
        efforts: of every iteration, if nothing else limits them.
        begun: when planning began, by the monotonic clock.

    Attributes:
        made: iterations so far.

    Raises:
        LewmError: operations are limited, and nobody knows how many the model takes.
    """

    def __init__(self, config: PlannerConfig, flops: PlanFlops | None, efforts: Sequence[Effort], begun: float) -> None:
        if config.flops is not None and flops is None:
            raise LewmError("operations are limited, and nobody counts those of this cost; set planner.milliseconds")
        self.made = 0
        self._flops, self._limit, self._efforts, self._begun = flops, config.flops, efforts, begun
        self._seconds = None if config.milliseconds is None else config.milliseconds / 1000
        self._read, self._took = begun, 0.0

    @property
    def next(self) -> Effort:
        """What the next iteration asks for."""
        return self._efforts[self.made]

    @property
    def last(self) -> bool:
        """Whether the next iteration will be the last, as far as can be told."""
        return not self._allows(self.made + 1, more=2)

    def allows_another(self) -> bool:
        """Whether the next iteration may be made."""
        return self.made == 0 or self._allows(self.made, more=1)

    def beginning(self, environments: int) -> Tensor:
        """Operations (E,) that every plan takes, float64."""
        return torch.full((environments,), float(self._flops.images if self._flops else 0), dtype=torch.float64)

    def cost_of(self, effort: Effort) -> int:
        """Operations of an iteration, per environment."""
        return self._flops.tried(effort.candidates, gradient=effort.gradient) if self._flops else 0

    def spend(self, costs: Tensor) -> None:
        """Note that an iteration was made.

        Args:
            costs: that it led to; they are waited for if time is limited, for a device may still compute.
        """
        self.made += 1
        if self._seconds is not None:
            costs[:1].cpu()
            now = time.monotonic()
            self._read, self._took = now, now - self._read

    def _allows(self, number: int, more: int) -> bool:
        """Whether iteration `number` may be made, which is so many from now."""
        if number >= len(self._efforts):
            return False
        if self._limit is not None:
            images = self._flops.images if self._flops else 0
            if images + sum(map(self.cost_of, self._efforts[: number + 1])) > self._limit:
                return False
        return self._seconds is None or time.monotonic() - self._begun + more * self._took <= self._seconds
