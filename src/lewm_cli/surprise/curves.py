"""Curves of every detector along one episode."""

import numpy as np
import torch
from torch import Tensor

from lewm_cli.store import Run
from lewm_cli.surprise.surprise_result import Curve, Detector


def model_steps(rows: int, frameskip: int) -> int:
    """Model steps K in an episode of so many rows: K + 1 frames, and an action block between any two."""
    return (rows - 1) // frameskip


def detect(run: Run, reference: Run, frames: np.ndarray, actions: np.ndarray) -> dict[Detector, Curve]:
    """Runs every detector over an episode.

    Args:
        run: the model.
        reference: the same run, untrained.
        frames: (K + 1, H, W, 3) uint8, every frameskip-th frame of the episode.
        actions: (K * frameskip, A) in the environment's units; NaN where none was recorded.
    """
    steps = len(frames) - 1
    taken = actions.reshape(steps, -1)
    recorded = torch.from_numpy(~np.isnan(taken).any(axis=1))
    blocks = torch.from_numpy(run.card.inputs.actions.normalize(actions).reshape(steps, -1)).to(run.device)
    latents = run.embed(frames)
    # A prediction is worth nothing if any action of its context is unknown.
    window = run.model.history
    known = [bool(recorded[max(0, step + 1 - window) : step + 1].all()) for step in range(steps)]
    scaled = frames.astype(np.float32) / 255
    return {
        "model": _curve(surprise(run, latents, blocks), known),
        "untrained": _curve(surprise(reference, reference.embed(frames), blocks), known),
        "latent": _curve((latents[1:] - latents[:-1]).square().sum(dim=1)),
        "pixels": _curve(torch.from_numpy(np.square(scaled[1:] - scaled[:-1]).mean(axis=(1, 2, 3)))),
    }


@torch.inference_mode()
def surprise(run: Run, latents: Tensor, blocks: Tensor) -> Tensor:
    """Squared error between every predicted and actual next latent (K,), summed over dimensions (paper, section 5).

    The context grows to the history length, then slides.

    Args:
        run: the model.
        latents: (K + 1, D)
        blocks: (K, block_dim) normalized.
    """
    model, window = run.model, run.model.history
    actions = model.embed_actions(blocks.unsqueeze(0))[0]
    # The predictor is causal: the first window also holds the predictions from shorter contexts.
    first = model.predict(latents[:-1][:window].unsqueeze(0), actions[:window].unsqueeze(0))[0]
    predicted = [first]
    if len(blocks) > window:
        contexts = (part.unfold(0, window, 1)[1:].transpose(1, 2) for part in (latents[:-1], actions))
        predicted.append(model.predict(*contexts)[:, -1])
    return run.finite((torch.cat(predicted) - latents[1:]).square().sum(dim=1))


def _curve(values: Tensor, known: list[bool] | None = None) -> Curve:
    numbers = values.tolist()
    return tuple(value if known is None or known[step] else None for step, value in enumerate(numbers))
