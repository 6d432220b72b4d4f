"""Curves of every detector along one episode; one of them is an untrained model, with which the trained is compared."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Dataset, Frames
from lewm_cli.model import Batch, normalize_pixels
from lewm_cli.store import Run
from lewm_cli.surprise.surprise_result import Curve, Detector
from lewm_cli.surprise.surprise_stream import SurpriseStream

CALIBRATION_EPISODES = 16


def model_steps(rows: int, frameskip: int) -> int:
    """Model steps K in an episode of so many rows: K + 1 frames, and an action block between any two."""
    return (rows - 1) // frameskip


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


def untrained_reference(run: Run, dataset: Dataset, frames: Frames, seed: int) -> Run:
    """Builds the same run with random weights, and with running statistics that fit them.

    With the statistics that a new model starts with, its latents would hardly move, and it would be no reference. The
    first 16 episodes of the recording with at least two steps give them; `seed` is that of the weights.
    """
    fresh = run.untrained(seed)
    return replace(fresh, model=fresh.model.published(_clips(run, dataset, frames)))


def _clips(run: Run, dataset: Dataset, frames: Frames) -> Iterator[Batch]:
    """Windows of every episode: pixels (B, T, 3, H, W) and the blocks between and after them (B, T, block_dim)."""
    inputs, proprio = run.card.inputs, run.recorded_proprio(dataset)
    episodes = zip(dataset.offsets, dataset.lengths, strict=True)
    every = ((first, model_steps(rows, inputs.frameskip)) for first, rows in episodes)
    usable = ((first, steps) for first, steps in every if steps >= 2)  # one prediction has no statistics
    for first, steps in islice(usable, CALIBRATION_EPISODES):
        rows = first + inputs.frameskip * np.arange(steps + 1)
        seen = frames.rows(rows)
        pixels = normalize_pixels(torch.from_numpy(seen).to(run.device), inputs.pixels)
        taken = inputs.actions.normalize(dataset.actions[first : first + inputs.frameskip * steps])
        blocks = torch.from_numpy(taken.reshape(steps, -1)).to(run.device)
        blocks = torch.cat([blocks, torch.zeros_like(blocks[:1])])  # after the last frame; predicts nothing
        window = min(run.model.history, int(steps)) + 1
        beside = run.prepare_proprio(None if proprio is None else proprio[rows])
        yield Batch(
            pixels.unfold(0, window, 1).movedim(-1, 1),
            blocks.unfold(0, window, 1).movedim(-1, 1),
            None if beside is None else beside.unfold(0, window, 1).movedim(-1, 1),
        )
