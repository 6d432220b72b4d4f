"""The small MLP that reads quantities off latents."""

from collections.abc import Callable

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from lewm_cli.model import HIDDEN, perceptron

BATCH = 512


def train_mlp(
    features: Tensor, targets: Tensor, seed: int, steps: int, advance: Callable[[int], None] = lambda done: None
) -> nn.Sequential:
    """Trains an MLP with two hidden layers to predict all targets at once.

    Args:
        features: (N, D) z-scored.
        targets: (N, K) z-scored.
        seed: of the weights and the batches.
        steps: of the optimizer.
        advance: told the number of steps done since the last call.
    """
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
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            advance(1)
    return network
