"""The two probes: least squares, and a small MLP."""

from collections.abc import Callable

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from lewm_cli.model import HIDDEN, perceptron

STEPS = 1500
BATCH = 512
RECIPE = (
    "features and targets z-scored on the training episodes; linear: ordinary least squares with intercept; "
    f"MLP: two hidden layers of {HIDDEN} with GELU, AdamW 2e-3 with cosine, weight decay 1e-4, {STEPS} steps of {BATCH}"
)
"""In words: the recipe of the published probes is not known."""


def fit_linear(features: Tensor, targets: Tensor, unseen: Tensor) -> Tensor:
    """Predict by ordinary least squares with intercept.

    Args:
        features: (N, D) float64 z-scored.
        targets: (N, K) float64 z-scored.
        unseen: (M, D) float64, features to predict from.

    Returns:
        (M, K)
    """
    solution = torch.linalg.lstsq(_with_intercept(features), targets, driver="gelsd").solution
    return _with_intercept(unseen) @ solution


def fit_mlp(features: Tensor, targets: Tensor, unseen: Tensor, seed: int) -> Tensor:
    """Predict with a small MLP for all targets at once; arguments as for `fit_linear`."""
    network = train_mlp(features, targets, seed, STEPS)
    with torch.inference_mode():
        return network(unseen.float()).double()


def train_mlp(
    features: Tensor, targets: Tensor, seed: int, steps: int, advance: Callable[[int], None] = lambda done: None
) -> nn.Sequential:
    """The small MLP itself; `advance` is told the number of steps done since the last call."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        features, targets = features.float(), targets.float()
        network = perceptron(features.shape[1], HIDDEN, targets.shape[1])
        optimizer = optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-4)
        schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            batch = torch.randint(len(features), (BATCH,))
            loss = F.mse_loss(network(features[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            advance(1)
    return network


def _with_intercept(features: Tensor) -> Tensor:
    return torch.cat([features, torch.ones(len(features), 1, dtype=features.dtype)], dim=1)
