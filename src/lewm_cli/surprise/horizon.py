"""Surprise of several model steps ahead: the model rolls on with the true actions and its own predictions."""

import torch
from torch import Tensor

from lewm_cli.store import Run
from lewm_cli.surprise.curves import surprise


@torch.inference_mode()
def surprise_ahead(run: Run, latents: Tensor, blocks: Tensor, horizon: int = 1) -> Tensor:
    """Squared error of every latent predicted so many model steps ahead (K + 1 - horizon,), summed over dimensions.

    Value t is about latent t + horizon, predicted open loop from latents up to t and the actions until then; the
    context grows to the history length, then slides. It is empty where there are fewer steps.

    Args:
        run: the model.
        latents: (K + 1, D)
        blocks: (K, block_dim) normalized.
        horizon: 1 is `surprise`.
    """
    if horizon == 1:
        return surprise(run, latents, blocks)
    imagine, window, last = run.world_model.imaginer(), run.model.history, len(blocks) - horizon
    predicted = [latents[:0]]
    for context in range(1, min(window, last + 1) + 1):
        begins = torch.arange(last + 2 - context if context == window else 1)[:, None]
        seen, taken = begins + torch.arange(context), begins + torch.arange(context + horizon - 1)
        predicted.append(imagine(latents[seen], blocks[taken])[:, -1])
    return run.finite((torch.cat(predicted) - latents[horizon:]).square().sum(dim=1))
