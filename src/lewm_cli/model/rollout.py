"""The plain rollout: what planning imagines, in six lines on `predict`. Every faster one is compared with it."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lewm_cli.model.world_model import WorldModel


def rollout(model: "WorldModel", emb: Tensor, blocks: Tensor, history: int | None = None) -> Tensor:
    """Roll a model forward on its own predictions; the window grows to the history length, then slides.

    Args:
        model: in eval mode, or while a loss trains it through its rollout.
        emb: (N, H, D) latents of the frames seen, oldest first.
        blocks: (N, T, block_dim) normalized: the actions taken at those frames and planned after them, T >= H.
        history: steps that are looked back at; the model's history length if not given.

    Returns:
        (N, T + 1, D): the context, then one latent per action from the last context frame on.
    """
    act_emb, latents = model.embed_actions(blocks), list(emb.unbind(dim=1))
    for end in range(len(latents), blocks.shape[1] + 1):
        window = slice(max(0, end - (history or model.history)), end)
        predicted = model.predict(torch.stack(latents[window], dim=1), act_emb[:, window])
        latents.append(predicted[:, -1])
    return torch.stack(latents, dim=1)
