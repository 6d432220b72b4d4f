"""The plain rollout, which defines what every faster one computes."""

import pytest
import torch
from torch import Tensor

from lewm_cli.config import EncoderConfig, ModelConfig
from lewm_cli.model import WorldModel, profile, rollout


class Sum(WorldModel):
    """A model whose next latent is the sum of the latents and actions in its window."""

    def __init__(self, history: int) -> None:
        super().__init__(
            ModelConfig(encoder=EncoderConfig(patch_size=1), image_size=2, latent=1, history=history), block_dim=1
        )
        self.scale = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.ones_(self.scale.weight)
        self.windows: list[int] = []

    def embed(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        return self.scale(pixels.mean(dim=(2, 3, 4), keepdim=True)[..., 0, 0])

    def embed_actions(self, blocks: Tensor) -> Tensor:
        return blocks

    def predict(self, emb: Tensor, act_emb: Tensor) -> Tensor:
        self.windows.append(emb.shape[1])
        return (emb + act_emb).cumsum(dim=1)


@pytest.mark.parametrize(
    ("history", "asked", "latents", "windows"),
    [
        (1, None, [1, 2, 4, 8, 16], [1, 1, 1, 1]),  # 1 + 1, 2 + 2, 4 + 4, 8 + 8
        (
            3,
            None,
            [1, 2, 6, 16, 38],
            [1, 2, 3, 3],
        ),  # the last: 2 + 6 + 16 and 2 + 4 + 8
        (3, 1, [1, 2, 4, 8, 16], [1, 1, 1, 1]),
    ],
)
def test_window_grows_then_slides(history: int, asked: int | None, latents: list[int], windows: list[int]):
    model = Sum(history)
    blocks = torch.tensor([1.0, 2, 4, 8]).view(1, 4, 1)
    imagined = rollout(model, torch.ones(1, 1, 1), blocks, asked)
    assert imagined.flatten().tolist() == latents
    assert model.windows == windows
    assert torch.equal(model.imaginer(history=asked)(torch.ones(1, 1, 1), blocks), imagined)


def test_context_of_several_frames_comes_first():
    imagined = rollout(Sum(3), torch.tensor([[[5.0], [7.0]]]), torch.ones(1, 3, 1))
    assert imagined.flatten().tolist() == [5, 7, 14, 29]


def test_profile_counts_each_child_for_what_calls_it():
    (part,) = profile(Sum(3))
    assert (part.name, part.parameters, part.flops, part.per) == ("scale", 1, 2, "frame")
