"""The description of a model without its weights; torch is imported only to build it."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lewm_cli.config import NetworkConfig, Section
from lewm_cli.methods import DEFAULT, METHODS
from lewm_cli.store.formats.classes import ALL
from lewm_cli.store.formats.refused import RefusalError

if TYPE_CHECKING:
    from lewm_cli.model import Network

DEEPEST = 256
LARGEST = 2**16
"""Bounds of a depth and of any other number in a configuration: far beyond every model, small enough to build."""


@dataclass(frozen=True)
class ModelSpec:
    """A model without its weights.

    Args:
        sizes: of the network.
        block_dim: width of an action block.
        method: that trains it; None where that is not said.
    """

    sizes: NetworkConfig
    block_dim: int
    method: str | None = None

    def network(self) -> "Network":
        """Build the network with random weights."""
        return METHODS[self.method or DEFAULT].network(self.sizes, self.block_dim)

    @cached_property
    def blank(self) -> "Network":
        """The network without memory for its tensors (on the meta device); RefusalError if it is too large."""
        import torch

        if not 1 <= self.block_dim <= LARGEST or _too_large(self.sizes):
            raise RefusalError(f"its configuration asks for a model larger than any {ALL}")
        with torch.device("meta"):
            return self.network()


def _too_large(sizes: Section) -> bool:
    return any(
        _too_large(value) if isinstance(value, Section) else value > (DEEPEST if key == "depth" else LARGEST)
        for key, value in sizes
        if isinstance(value, Section | int)
    )
