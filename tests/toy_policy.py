"""A policy that is trained in a second, for tests that add it to the table of methods."""

from typing import ClassVar

import pytest
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from lewm_cli.config import NetworkConfig
from lewm_cli.methods import METHODS, Loss, Objective
from lewm_cli.model import Batch, GoalConditionedPolicy, Network


class ToySizes(NetworkConfig):
    """Sizes of the network below."""

    hidden: PositiveInt = Field(8, description="hidden width")


class ToyPolicy(GoalConditionedPolicy):
    """Two layers on the pixels of both frames."""

    def __init__(self, config: ToySizes, block_dim: int) -> None:
        super().__init__(config, block_dim)
        self.eyes = nn.Linear(3 * config.image_size**2, config.hidden)
        self.hand = nn.Sequential(nn.GELU(), nn.Linear(2 * config.hidden, block_dim))

    def act(self, pixels: Tensor, goals: Tensor) -> Tensor:
        return self.hand(torch.cat([self.eyes(pixels.flatten(1)), self.eyes(goals.flatten(1))], dim=-1))


class Imitation(Objective):
    """The last frame of a clip is the goal of its first action."""

    name: ClassVar[str] = "imitation"
    summary: ClassVar[str] = "Does what was done."
    source: ClassVar[str] = "a test"
    Sizes: ClassVar[type[NetworkConfig]] = ToySizes

    @classmethod
    def network(cls, sizes: NetworkConfig, block_dim: int) -> Network:
        assert isinstance(sizes, ToySizes)
        return ToyPolicy(sizes, block_dim)

    def loss(
        self, model: Network, heads: nn.ModuleDict, batch: Batch, generator: torch.Generator | None = None
    ) -> Loss:
        error = (model.act(batch.pixels[:, 0], batch.pixels[:, -1]) - batch.blocks[:, 0]).square().mean()
        return Loss(error, {"imitation": error})

    @property
    def explanation(self) -> str:
        return "The actions that were taken."

    @property
    def collapse_advice(self) -> str:
        return ""


def add_imitation(patch: pytest.MonkeyPatch) -> None:
    """Adds the method to the table."""
    patch.setitem(METHODS, Imitation.name, Imitation)


POLICY = """
method = "imitation"
model = { image_size = 16, hidden = 8 }
data = { workers = 0, frameskip = 1 }
optimizer = { lr = 1e-2, batch_size = 16 }
monitor = { every = 10, clips = 16, log_every = 5 }
"""
