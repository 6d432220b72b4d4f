"""What a solver returns."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Iteration:
    """What a solver tried at once.

    Args:
        actions: (E, S, horizon, block_dim) normalized candidates, on the CPU.
        cost: (E, S) on the CPU.
    """

    actions: Tensor
    cost: Tensor


@dataclass(frozen=True)
class Plan:
    """One plan per environment.

    Args:
        actions: (E, horizon, block_dim) normalized action blocks, on the CPU.
        cost: (E,) on the CPU, mean latent cost of the elites of the last iteration.
        seconds: it took for all environments together.
        history: every iteration, if the solver was asked to remember.
    """

    actions: Tensor
    cost: Tensor
    seconds: float
    history: tuple[Iteration, ...] = ()
