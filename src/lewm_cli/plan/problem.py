"""What a solver is asked."""

from dataclasses import dataclass
from typing import Self

import torch

from lewm_cli.plan.cost import Cost


@dataclass(frozen=True)
class Problem:
    """Plans to find, one per environment.

    Args:
        cost: of candidates, for E environments.
        block_dim: width of an action block.
        generators: E of them, on the CPU, so that what is drawn for one environment does not depend on the others.
    """

    cost: Cost
    block_dim: int
    generators: list[torch.Generator]

    def of(self, number: int) -> Self:
        """The problem of one of the environments."""
        return type(self)(self.cost.of(number), self.block_dim, [self.generators[number]])
