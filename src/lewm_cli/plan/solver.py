"""What a solver is."""

from typing import Protocol

import torch

from lewm_cli.plan.cost import LatentCost
from lewm_cli.plan.plan import Plan


class Solver(Protocol):
    """Finds one plan per environment, all environments in one batch."""

    def solve(self, cost: LatentCost, block_dim: int, generators: list[torch.Generator]) -> Plan:
        """Find plans of low cost.

        Args:
            cost: of candidates, for E environments.
            block_dim: width of an action block.
            generators: one per environment, on the CPU, so that what is drawn for one does not depend on the
                others.
        """
        ...
