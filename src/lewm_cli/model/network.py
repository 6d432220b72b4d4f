"""The interface of what a method trains and a run holds: a world model, or a policy."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor, nn

from lewm_cli.config import NetworkConfig
from lewm_cli.model.batch import Batch


class Network(nn.Module, ABC):
    """A network that is trained and published, whatever it is for.

    Args:
        config: sizes.
        block_dim: width of an action block, frameskip * action dimensions.
    """

    def __init__(self, config: NetworkConfig, block_dim: int) -> None:
        super().__init__()
        self.config: NetworkConfig = config
        self.block_dim = block_dim

    def __repr__(self) -> str:
        """One line; the layers are in the line of each part, as `print(model.encoder)` shows them."""
        parts = ", ".join(f"{name} {_parameters(part):,}" for name, part in self.named_children() if _parameters(part))
        return f"{type(self).__name__}({self.parameter_count:,} parameters: {parts}; {self._sizes})"

    @property
    def _sizes(self) -> str:
        return f"frames of {self.config.image_size} px, action blocks of {self.block_dim}"

    @property
    def parameter_count(self) -> int:
        """The number of parameters of the whole network."""
        return _parameters(self)

    @property
    def history(self) -> int:
        """The most steps of context that it takes."""
        return self.config.history

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return next(self.parameters()).dtype

    def published(self, batches: Iterable[Batch]) -> Self:
        """A copy in eval mode as it is measured and saved; the network being trained is left as it is.

        Args:
            batches: of training clips, for statistics that trail the weights.
        """
        return copy.deepcopy(self).eval()


class GoalConditionedPolicy(Network):
    """A network that acts in one forward pass and imagines nothing."""

    @abstractmethod
    def act(self, pixels: Tensor, goals: Tensor) -> Tensor:
        """Normalized current frames and goal frames (B, 3, H, W) to normalized action blocks (B, block_dim)."""


def _parameters(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())
