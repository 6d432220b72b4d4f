"""Curves of every detector along one episode; one of them is an untrained model, with which the trained is compared."""

import numpy as np
import torch
from torch import Tensor

from lewm_cli.store import Run
from lewm_cli.surprise.surprise_result import Curve, Detector


def detect(
    run: Run, reference: Run, frames: np.ndarray, actions: np.ndarray, proprio: np.ndarray | None = None
) -> dict[Detector, Curve]:
    """Runs every detector over an episode.

    Args:
        run: the model.
        reference: the same run, untrained.
        frames: (K + 1, H, W, 3) uint8, every frameskip-th frame of the episode.
        actions: (K * frameskip, A) in the environment's units; NaN where none was recorded.
        proprio: (K + 1, P) beside the frames, in the environment's units, for a run that takes it.
    """
    steps, window = len(frames) - 1, run.model.history
    recorded = ~np.isnan(actions.reshape(steps, -1)).any(axis=1)
    blocks = torch.from_numpy(run.card.inputs.actions.normalize(actions).reshape(steps, -1)).to(run.device)
    latents = run.embed(frames, proprio)
    scaled = frames.astype(np.float32) / 255

    def known(values: Tensor) -> Curve:
        # A prediction is worth nothing if any action of its context is unknown.
        contexts = (recorded[max(0, step + 1 - window) : step + 1] for step in range(steps))
        return tuple(value if seen.all() else None for value, seen in zip(values.tolist(), contexts, strict=True))

    return {
        "model": known(surprise(run, latents, blocks)),
        "untrained": known(surprise(reference, reference.embed(frames, proprio), blocks)),
        "latent": tuple((latents[1:] - latents[:-1]).square().sum(dim=1).tolist()),
        "pixels": tuple(np.square(scaled[1:] - scaled[:-1]).mean(axis=(1, 2, 3)).tolist()),
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
    model, window = run.world_model, run.model.history
    actions = model.embed_actions(blocks.unsqueeze(0))[0]
    # The predictor is causal: the first window also holds the predictions from shorter contexts.
    first = model.predict(latents[:-1][:window].unsqueeze(0), actions[:window].unsqueeze(0))[0]
    predicted = [first]
    if len(blocks) > window:
        contexts = (part.unfold(0, window, 1)[1:].transpose(1, 2) for part in (latents[:-1], actions))
        predicted.append(model.predict(*contexts)[:, -1])
    return run.finite((torch.cat(predicted) - latents[1:]).square().sum(dim=1))
