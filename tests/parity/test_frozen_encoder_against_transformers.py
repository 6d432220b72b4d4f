"""Our frozen encoder computes what DINOv2 and ViT of transformers compute with the same weights."""

from typing import Any

import pytest
import torch
from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

from lewm_cli.config import FrozenEncoderConfig
from lewm_cli.model import FrozenEncoder
from lewm_cli.store.keys import backbone_key

SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
DINOV2_SMALL = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "image_size": 518}


def tokens(theirs: torch.nn.Module, config: FrozenEncoderConfig, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The patch tokens of ours and of theirs, of the same frames."""
    ours = FrozenEncoder(config, size)
    left_out = ("mask_token", "pooler")
    state = {backbone_key(key): value for key, value in theirs.state_dict().items()}
    ours.backbone.load_state_dict({key: value for key, value in state.items() if not any(map(key.count, left_out))})
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs.eval()(pixels).last_hidden_state[:, 1:]
    assert ours.patches == expected.shape[1]
    assert expected.std() > 0.1
    return ours(pixels), expected


@pytest.mark.parametrize("size", [196, 224])
@pytest.mark.parametrize(
    "sizes",
    [{**SMALL, "image_size": 42}, pytest.param(DINOV2_SMALL, marks=pytest.mark.slow)],
    ids=["tiny", "dinov2-small"],
)
def test_dinov2_interpolates_its_positions_and_scales_its_layers(scramble: Any, sizes: dict[str, int], size: int):
    theirs = scramble(Dinov2Model(Dinov2Config(**sizes, patch_size=14)))
    config = FrozenEncoderConfig(
        width=sizes["hidden_size"],
        depth=sizes["num_hidden_layers"],
        heads=sizes["num_attention_heads"],
        mlp=4 * sizes["hidden_size"],
        layer_scale=True,
        epsilon=1e-6,
        grid=sizes["image_size"] // 14,
    )
    found, expected = tokens(theirs, config, size)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_vit_of_its_own_size(scramble: Any):
    theirs = scramble(ViTModel(ViTConfig(**SMALL, intermediate_size=40, image_size=32, patch_size=8)))
    config = FrozenEncoderConfig(patch_size=8, width=24, depth=2, heads=3, mlp=40)
    found, expected = tokens(theirs, config, 32)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
