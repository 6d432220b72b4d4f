"""What a solver returns."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Plan:
    """One plan per environment.

    Args:
        actions: (E, horizon, block_dim) normalized action blocks, on the CPU.
        cost: (E,) on the CPU, mean latent cost of the elites of the last iteration.
        seconds: it took for all environments together.
    """

    actions: Tensor
    cost: Tensor
    seconds: float
