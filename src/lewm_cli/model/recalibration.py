"""BatchNorm statistics that fit the present weights."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lewm_cli.model.lewm import LeWM


def recalibrated(model: LeWM, batches: Iterable[tuple[Tensor, Tensor]]) -> LeWM:
    """A copy in eval mode whose BatchNorm statistics fit its present weights.

    Running statistics trail the weights while the learning rate is high, which can inflate held-out losses a
    hundredfold. Here they are averaged anew over some training batches, dropout off.

    Args:
        model: the model being trained; left as it is.
        batches: (pixels (B, T, 3, H, W), blocks (B, T, block_dim)), normalized.
    """
    fresh = copy.deepcopy(model).eval()
    norms = [module for module in fresh.modules() if isinstance(module, nn.BatchNorm1d)]
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
    with torch.inference_mode():
        for pixels, blocks in batches:
            latents = fresh.embed(pixels)
            fresh.predict(latents[:, :-1], fresh.embed_actions(blocks[:, :-1]))
    for norm in norms:
        norm.momentum = 0.1
    return fresh.eval()
