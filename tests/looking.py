"""A method that looks through a frozen encoder, and what its tests train it on and with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from commands import Done, lewm_here
from lewm_cli.config import FrozenEncoderConfig, NetworkConfig, WorldModelConfig
from lewm_cli.methods import METHODS, InfoContract, Loss, Objective
from lewm_cli.model import Batch, FrozenEncoder, Network


class LookingSizes(WorldModelConfig):
    """Sizes of the network below."""

    latent: PositiveInt = Field(4, description="dimension of the latent space")
    encoder: FrozenEncoderConfig = FrozenEncoderConfig()

    @property
    def latent_dim(self) -> int:
        return self.latent


class LookingNetwork(InfoContract):
    """Means of patch tokens, and a linear step."""

    def __init__(self, config: LookingSizes, block_dim: int) -> None:
        super().__init__(config, block_dim)
        self.encoder = FrozenEncoder(config.encoder, config.image_size)
        self.narrow = nn.Linear(config.encoder.width, config.latent)
        self.next = nn.Linear(config.latent + block_dim, config.latent)

    def embed(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        return self.narrow(self.encoder(pixels.flatten(0, 1)).mean(dim=1)).unflatten(0, pixels.shape[:2])

    def embed_actions(self, blocks: Tensor) -> Tensor:
        return blocks

    def predict(self, emb: Tensor, act_emb: Tensor) -> Tensor:
        return emb + self.next(torch.cat([emb, act_emb], dim=-1))


class Looking(Objective):
    """Predicts the next latent of frozen patches."""

    name: ClassVar[str] = "looking"
    summary: ClassVar[str] = "Predicts the next latent of frozen patches."
    source: ClassVar[str] = "these tests"
    Sizes: ClassVar[type[NetworkConfig]] = LookingSizes

    @classmethod
    def network(cls, sizes: NetworkConfig, block_dim: int) -> Network:
        return LookingNetwork(sizes, block_dim)

    def loss(self, model: Network, heads: nn.ModuleDict, batch: Batch, generator: Any = None) -> Loss:
        latents = model.embed(batch.pixels)
        predicted = model.predict(latents[:, :-1], batch.blocks[:, :-1])
        prediction = (predicted - latents[:, 1:].detach()).square().mean()
        return Loss(prediction, {"prediction": prediction}, latents, predicted)

    @property
    def explanation(self) -> str:
        return "Prediction."

    @property
    def collapse_advice(self) -> str:
        return "look through another encoder"


SETTINGS = """
method = "looking"
seed = 7
model = { image_size = 16 }
data = { workers = 0, frameskip = 2 }
optimizer = { lr = 1e-2, batch_size = 16, precision = "float32", weight_decay = 0.1 }
schedule = { stop = "12 steps", warmup = 0.1 }
monitor = { every = 6, clips = 16, log_every = 3 }
"""


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The method is in the table; a configuration file that trains it in a second."""
    monkeypatch.setitem(METHODS, Looking.name, Looking)
    path = tmp_path / "looking.toml"
    path.write_text(SETTINGS, encoding="utf-8")
    return path


Look = Callable[..., Done]


@pytest.fixture
def look(looking: Path) -> Look:
    """Trains `robot/pick` in a home by this method."""
    return lambda home, *options: lewm_here(home, "train", "robot/pick", "--config", looking, *options)
