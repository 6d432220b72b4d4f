"""The encoder and its input are what the plain formulas say, in value and gradient."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lewm_cli.config import EncoderConfig, PixelStats
from lewm_cli.model import VisionTransformer, normalize_pixels

CONFIG = EncoderConfig(patch_size=4, width=12, depth=3, heads=2, mlp=20)
SIZE = 12


@pytest.fixture
def encoder(scramble) -> VisionTransformer:
    return scramble(VisionTransformer(CONFIG, SIZE))


@pytest.fixture
def pixels() -> Tensor:
    return torch.randn(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def plain(encoder: VisionTransformer, pixels: Tensor) -> Tensor:
    """Every token through every block, and patches by a convolution."""
    embeddings = encoder.embeddings
    patches = embeddings.patch_embeddings["projection"](pixels).flatten(2).transpose(1, 2)
    x = torch.cat([embeddings.cls_token.expand(len(pixels), -1, -1), patches], dim=1) + embeddings.position_embeddings
    for layer in encoder.layers:
        normed, attention = layer.layernorm_before(x), layer.attention
        heads = [
            projection(normed).unflatten(-1, (CONFIG.heads, -1)).transpose(1, 2)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        ]
        x = x + attention.o_proj(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
        x = x + layer.mlp(layer.layernorm_after(x))
    return encoder.layernorm(x)[:, 0]


def gradients(model: nn.Module, output: Tensor) -> list[Tensor]:
    weights = torch.linspace(-1, 1, output.numel()).reshape(output.shape)
    return list(torch.autograd.grad((output * weights).sum(), list(model.parameters())))


@pytest.mark.parametrize("channels_last", [False, True])
def test_tokens_that_nothing_reads_are_left_out(encoder: VisionTransformer, pixels: Tensor, channels_last: bool):
    given = pixels.contiguous(memory_format=torch.channels_last) if channels_last else pixels
    found, expected = encoder(given), plain(encoder, pixels)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(encoder, found), gradients(encoder, expected))


def test_checkpointing_keeps_less_and_gives_the_same_gradient(encoder: VisionTransformer, pixels: Tensor):
    frugal = copy.deepcopy(encoder)
    frugal.checkpointing = True
    found = []
    for model in (encoder, frugal):
        kept: list[int] = []

        def keep(tensor: Tensor, kept: list[int] = kept) -> Tensor:
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = model(pixels)
        found.append((sum(kept), output, *gradients(model, output)))
    (all_kept, *plainly), (few_kept, *again) = found
    assert few_kept < 0.5 * all_kept
    for one, other in zip(plainly, again, strict=True):
        assert torch.equal(one, other)
    with torch.no_grad():
        assert torch.equal(frugal(pixels), encoder(pixels))


def test_normalized_pixels_are_those_of_the_formula_to_the_last_bit():
    stats = PixelStats()
    frames = torch.randint(0, 256, (2, 3, 5, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    for given in (frames, frames.float()):
        kept = given.clone()
        expected = (given.float() / 255 - torch.tensor(stats.mean)) / torch.tensor(stats.std)
        found = normalize_pixels(given, stats)
        assert found.dtype == torch.float32
        assert torch.equal(found, expected.movedim(-1, -3))
        assert torch.equal(given, kept)
