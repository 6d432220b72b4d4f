"""Surprise along an episode, all steps at once: one model step ahead, or several, open loop with the true actions."""

import torch
from torch import Tensor

from lewm_cli.store import Run


@torch.inference_mode()
def surprise(run: Run, latents: Tensor, blocks: Tensor) -> Tensor:
    """Squared error between every predicted and actual next latent (K,), summed over dimensions (paper, section 5).

    The context grows to the history length, then slides. All steps at once: the numbers of a `SurpriseStream` but for
    their last bits.

    Args:
        run: the model.
        latents: (K + 1, D)
        blocks: (K, block_dim) normalized.
    """
    model, window = run.world_model, run.model.history
    actions = model.embed_actions(blocks.unsqueeze(0))[0]
    # The predictor is causal: the first window also holds the predictions from shorter contexts.
    first = model.predict(latents[:-1][:window].unsqueeze(0), actions[:window].unsqueeze(0))[0]
    predicted = [first]
    if len(blocks) > window:
        contexts = (part.unfold(0, window, 1)[1:].transpose(1, 2) for part in (latents[:-1], actions))
        predicted.append(model.predict(*contexts)[:, -1])
    return run.finite((torch.cat(predicted) - latents[1:]).square().sum(dim=1))


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
