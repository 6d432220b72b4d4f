"""The interface of a method: what training and the store call, whatever it is."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from lewm_cli.config import NetworkConfig, Section
from lewm_cli.methods.info_contract import InfoContract


@dataclass(frozen=True)
class Batch:
    """A batch of clips as the network takes them.

    Args:
        pixels: (B, T, 3, H, W) normalized frames, T the history length plus one.
        blocks: (B, T, block_dim) normalized action blocks.
    """

    pixels: Tensor
    blocks: Tensor


@dataclass(frozen=True)
class Loss:
    """The loss of a batch.

    Args:
        total: scalar, to be minimized.
        parts: scalars that it is made of, before they are weighted, by name; `prediction` is one of them.
        latents: (B, T, D) for monitoring.
        predicted: (B, T - 1, D) the predictions of all latents but the first, for monitoring.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    latents: Tensor
    predicted: Tensor


class Method(InfoContract):
    """A world model and how it is trained.

    A method is one module in this folder and one entry in `table.py`, which names its sections of the configuration. It
    builds its network and computes its loss; planning cost and rollout are those of the base classes unless it has its
    own.

    Args:
        config: sizes of the network.
        block_dim: width of an action block, frameskip * action dimensions.
        objective: of the training; its defaults if not given.

    Attributes:
        name: in configurations, `method = "lewm"`.
    """

    name: ClassVar[str]

    def __init__(self, config: NetworkConfig, block_dim: int, objective: Section | None = None) -> None:
        super().__init__(config, block_dim)

    def __repr__(self) -> str:
        """One line; the layers are in the line of each part, as `print(model.encoder)` shows them."""
        parts = ", ".join(f"{name} {_parameters(part):,}" for name, part in self.named_children() if _parameters(part))
        sizes = f"frames of {self.config.image_size} px, latent {self.config.latent}, action blocks of {self.block_dim}"
        return f"{type(self).__name__}({self.parameter_count:,} parameters: {parts}; {sizes})"

    @property
    def parameter_count(self) -> int:
        """The number of parameters of the whole network."""
        return _parameters(self)

    @abstractmethod
    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> Loss:
        """The loss of a batch.

        Args:
            batch: on the device of the weights.
            generator: random numbers that the loss draws; torch's global ones if not given.
        """

    @abstractmethod
    def published(self, batches: Iterable[Batch]) -> Self:
        """A copy in eval mode as it is measured and saved; the model being trained is left as it is.

        Args:
            batches: of training clips, for statistics that trail the weights.
        """

    @property
    @abstractmethod
    def collapse_advice(self) -> str:
        """A clause that says what to change when the latent space has collapsed."""


def _parameters(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())
