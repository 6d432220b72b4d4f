"""Prediction alone collapses; the methods that keep latents apart do not, on the same clips from the same weights."""

import tomllib
from functools import cache

import pytest
import torch
from torch import nn

from lewm_cli.config import ActionStats, Inputs
from lewm_cli.methods import METHODS, TrainConfig
from lewm_cli.model import Batch
from lewm_cli.train.monitor import HeldOut, HeldOutLatents
from synthetic import TINY

pytestmark = pytest.mark.slow

STEPS = 120
CLIPS, SIZE = 64, 16


def clips(seed: int) -> Batch:
    """A spot that moves as the actions say, from anywhere."""
    generator = torch.Generator().manual_seed(seed)
    moves = torch.randn(CLIPS, 4, 2, generator=generator)
    places = 4 + 8 * torch.rand(CLIPS, 1, 2, generator=generator) + 2 * (moves.cumsum(dim=1) - moves)
    grid = torch.stack(torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij"))
    spot = torch.exp(-(grid - places[..., None, None]).square().sum(dim=2) / 8)
    return Batch(4 * spot.unsqueeze(2).expand(-1, -1, 3, -1, -1), moves)


@cache
def held_out(method: str) -> HeldOutLatents:
    """Trains a tiny network, and measures it on clips that it was not trained on."""
    objective = {"objective": {"projections": 64} if method == "lewm" else {}}
    config = TrainConfig.build(tomllib.loads(TINY) | {"method": method} | objective, "TINY")
    torch.manual_seed(config.seed)
    inputs = Inputs(task="tworoom", frameskip=1, actions=ActionStats(mean=(0.0, 0.0), std=(1.0, 1.0)))
    model = METHODS[method].network(config.model, inputs.block_dim).train()
    heads = nn.ModuleDict(config.objective.heads(config.model, inputs))
    optimizer = torch.optim.AdamW([*model.parameters(), *heads.parameters()], lr=1e-2, fused=True)
    for step in range(STEPS):
        loss = config.objective.loss(model, heads, clips(step))
        optimizer.zero_grad()
        loss.total.backward()
        nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
        optimizer.step()
    published = model.published(clips(step) for step in range(4))
    measured, _ = HeldOut.measure(config.objective, published, heads, [clips(10_000), clips(10_001)])
    assert isinstance(measured, HeldOutLatents)
    return measured


def test_prediction_alone_collapses():
    found = held_out("prediction")
    assert found.std < 0.01  # 0.002 was seen
    assert found.collapsed


@pytest.mark.parametrize("method", ["lewm", "pldm", "delta", "inverse"])
def test_methods_do_not_collapse(method: str):
    """Deviations of 0.82, 1.07, 0.25 and 0.14 were seen: only the first two methods ask for 1."""
    found = held_out(method)
    assert not found.collapsed
    assert found.std > 20 * held_out("prediction").std
