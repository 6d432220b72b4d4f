"""The description of a model without its weights; torch is imported only to build it."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lewm_cli.config import NetworkConfig, PatchNetworkConfig, ProprioConfig, Section
from lewm_cli.methods import DEFAULT, METHODS
from lewm_cli.store.formats.classes import ALL
from lewm_cli.store.formats.refused import RefusalError

if TYPE_CHECKING:
    from lewm_cli.model import Network

DEEPEST = 256
LARGEST = 2**16
MOST_TOKENS = 2**13
"""Bounds of a depth, of any other number in a configuration, and of tokens that are masked from each other, of which
the square fills the memory: far beyond every model, small enough to build."""


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

        if not 1 <= self.block_dim <= LARGEST or _too_large(self.sizes) or _tokens(self.sizes) > MOST_TOKENS:
            raise RefusalError(f"its configuration asks for a model larger than any {ALL}")
        if isinstance(self.sizes, ProprioConfig) and self.sizes.proprio is None:
            raise RefusalError("its configuration does not say how many dimensions of proprioception it takes")
        with torch.device("meta"):
            return self.network()


def _tokens(sizes: NetworkConfig) -> int:
    return sizes.history * sizes.patches if isinstance(sizes, PatchNetworkConfig) else 0


def _too_large(sizes: Section) -> bool:
    return any(
        _too_large(value) if isinstance(value, Section) else value > (DEEPEST if key == "depth" else LARGEST)
        for key, value in sizes
        if isinstance(value, Section | int)
    )
