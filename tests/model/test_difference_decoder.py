"""The decoder of actions from a latent difference."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lewm_cli.config import TransformerConfig
from lewm_cli.model import DifferenceDecoder

LATENT, STEPS, DIMS = 4, 5, 2
CONFIG = TransformerConfig(width=8, depth=2, heads=2, head_dim=4, mlp=16, dropout=0.0)


@pytest.fixture
def decoder() -> DifferenceDecoder:
    return DifferenceDecoder(CONFIG, LATENT, STEPS, DIMS)


def changed(decoder: DifferenceDecoder, query: int) -> list[bool]:
    """Says for each action whether another value of a query changes it."""
    difference = torch.ones(1, LATENT)
    with torch.no_grad():
        before = decoder(difference)
        decoder.queries[query] = torch.linspace(-1, 1, 8)
        after = decoder(difference)
    return (before != after).unflatten(-1, (STEPS, DIMS)).any(dim=-1)[0].tolist()


@pytest.mark.parametrize("query", range(STEPS))
def test_each_query_is_one_action_in_the_order_of_the_block(decoder: DifferenceDecoder, query: int):
    """Blocks begin as the identity, so that a query is not mixed with others."""
    assert changed(decoder, query) == [action == query for action in range(STEPS)]


@pytest.mark.parametrize("query", [0, STEPS - 1])
def test_every_query_sees_every_other(decoder: DifferenceDecoder, scramble: Callable, query: int):
    assert changed(scramble(decoder), query) == [True] * STEPS


def test_differences_of_any_shape_are_decoded_one_by_one(decoder: DifferenceDecoder, scramble: Callable):
    scramble(decoder)
    differences = torch.randn(3, 2, LATENT, generator=torch.Generator().manual_seed(0))
    blocks: Tensor = decoder(differences)
    assert blocks.shape == (3, 2, STEPS * DIMS)
    torch.testing.assert_close(blocks[2, 1], decoder(differences[2, 1:2])[0])
    assert not torch.allclose(blocks[0, 0], blocks[0, 1])
