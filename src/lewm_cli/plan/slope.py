"""How the cost of candidates changes with them."""

import torch
from torch import Tensor

from lewm_cli.plan.cost import Cost

SEQUENCES_AT_ONCE = 256
"""Differentiated together: every step on the way to a cost is kept until its gradient is known."""


def cost_and_slope(cost: Cost, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Cost (E, S) of candidates, and its gradient with respect to them (E, S, horizon, block_dim).

    Args:
        cost: that is differentiable with respect to candidates.
        candidates: (E, S, horizon, block_dim).
    """
    costs, slopes = [], []
    with torch.inference_mode(mode=False), torch.enable_grad():
        for part in candidates.split(max(1, SEQUENCES_AT_ONCE // len(candidates)), dim=1):
            leaf = part.clone().requires_grad_()
            found = cost(leaf)
            slopes += torch.autograd.grad(found.sum(), leaf)
            costs.append(found.detach())
    return torch.cat(costs, dim=1), torch.cat(slopes, dim=1)
