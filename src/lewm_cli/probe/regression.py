"""The two probes: least squares, and a small MLP."""

import torch
from torch import Tensor

from lewm_cli.heads import BATCH, train_mlp
from lewm_cli.model import HIDDEN

STEPS = 1500
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


def _with_intercept(features: Tensor) -> Tensor:
    return torch.cat([features, torch.ones(len(features), 1, dtype=features.dtype)], dim=1)
