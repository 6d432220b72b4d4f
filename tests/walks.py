"""Random walks of a color, a model that knows all about them, and one that expects no change."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lewm_cli.config import EncoderConfig, ModelConfig, PredictorConfig, ProjectorConfig
from lewm_cli.data import Dataset, open_dataset
from lewm_cli.methods import JEPA, RunCard
from lewm_cli.model import Imaginer, WorldModel
from synthetic import write_recording

SIZE = 16
SKIP = 5
EPISODES = 12
ROWS = 71
CONFIG = ModelConfig(
    image_size=SIZE,
    latent=3,
    encoder=EncoderConfig(patch_size=8, width=16, depth=1, heads=2, mlp=32),
    projector=ProjectorConfig(hidden=16),
    predictor=PredictorConfig(depth=1, heads=2, head_dim=8, mlp=32),
)


class Knowing(JEPA):
    """Latents are the first pixel's colors, to which each action of a block is added."""

    def __init__(self, card: RunCard, dims: int = 2) -> None:
        super().__init__(CONFIG, block_dim=SKIP * dims)
        self.register_buffer("mean", torch.tensor(card.inputs.actions.mean))
        self.register_buffer("std", torch.tensor(card.inputs.actions.std))
        self.register_buffer("unit", 255 * torch.tensor(card.inputs.pixels.std))

    def embed(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        return pixels[:, :, :, 0, 0]

    def embed_actions(self, blocks: Tensor) -> Tensor:
        moved = (blocks.unflatten(-1, (SKIP, -1)) * self.std + self.mean).sum(dim=-2)
        return torch.cat([moved, torch.zeros_like(moved[..., :1])], dim=-1) / self.unit

    def predict(self, emb: Tensor, act_emb: Tensor) -> Tensor:
        return emb + act_emb

    def imaginer(self, dtype: torch.dtype = torch.float32, history: int | None = None) -> Imaginer:
        return WorldModel.imaginer(self, dtype, history)


class Copying(Knowing):
    """Expects that nothing changes."""

    def predict(self, emb: Tensor, act_emb: Tensor) -> Tensor:
        return emb


def walks(path: Path, rows: int = ROWS) -> Dataset:
    """Random walks of a pixel's first two colors, which are also recorded as the agent's place."""
    generator = np.random.default_rng(3)
    actions = generator.integers(-2, 3, (EPISODES, rows, 2))
    places = generator.integers(100, 156, (EPISODES, 1, 2)) + np.cumsum(actions, axis=1) - actions
    places = places.clip(0, 255).reshape(-1, 2)
    frames = np.zeros((EPISODES * rows, SIZE, SIZE, 3), np.uint8)
    frames[..., :2] = places[:, None, None]
    columns = {"pixels": frames, "proprio": places.astype(np.float32), "action": actions.reshape(-1, 2).astype("f4")}
    write_recording(path, [rows] * EPISODES, dims=2, columns=columns, task="tworoom")
    return open_dataset(path, path.stem)
