"""Curves of every detector along one episode; one of them is an untrained model, with which the trained is compared."""

import numpy as np
import torch
from torch import Tensor

from lewm_cli.store import Run
from lewm_cli.surprise.surprise_result import Curve, Detector
from lewm_cli.surprise.surprise_stream import SurpriseStream


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
    model, latents = _followed(run, frames, actions, proprio)
    scaled = frames.astype(np.float32) / 255
    blocks = torch.from_numpy(run.card.inputs.actions.normalize(actions).reshape(len(model), -1)).to(run.device)
    untrained = surprise(reference, reference.embed(frames, proprio), blocks).tolist()
    return {
        "model": model,
        # A prediction is worth nothing if any action of its context is unknown: where the model has none.
        "untrained": tuple(None if one is None else value for one, value in zip(model, untrained, strict=True)),
        "latent": tuple((latents[1:] - latents[:-1]).square().sum(dim=1).tolist()),
        "pixels": tuple(np.square(scaled[1:] - scaled[:-1]).mean(axis=(1, 2, 3)).tolist()),
    }


def model_curve(run: Run, frames: np.ndarray, actions: np.ndarray, proprio: np.ndarray | None = None) -> Curve:
    """Runs the first of the detectors alone; the arguments are those of `detect`."""
    return _followed(run, frames, actions, proprio)[0]


def _followed(run: Run, frames: np.ndarray, actions: np.ndarray, proprio: np.ndarray | None) -> tuple[Curve, Tensor]:
    """Surprise at every frame but the first, and latents (K + 1, D), as they are of frames that come one by one."""
    stream, found, latents = SurpriseStream(run), [], []
    taken = (None, *actions.reshape(len(frames) - 1, -1, actions.shape[1]))
    beside = [None] * len(frames) if proprio is None else proprio
    for frame, block, numbers in zip(frames, taken, beside, strict=True):
        found.append(stream.update(frame, block, numbers).surprise)
        latents.append(stream.latent)
    return tuple(found[1:]), torch.stack(latents)


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
