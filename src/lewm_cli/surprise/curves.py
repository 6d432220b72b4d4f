"""Curves of every detector along one episode; one of them is an untrained model, with which the trained is compared."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Dataset, Frames
from lewm_cli.model import Batch, normalize_pixels
from lewm_cli.store import Run
from lewm_cli.surprise.surprise_result import Curve, Detector

CALIBRATION_EPISODES = 16

Foresee = Callable[[Run, Tensor, Tensor], Tensor]
"""Run, latents (K + 1, D) and normalized blocks (K, block_dim) to squared errors of the last of these latents."""


def model_steps(rows: int, frameskip: int) -> int:
    """Model steps K in an episode of so many rows: K + 1 frames, and an action block between any two."""
    return (rows - 1) // frameskip


def detect(
    run: Run,
    reference: Run,
    frames: np.ndarray,
    actions: np.ndarray,
    proprio: np.ndarray | None = None,
    *,
    beside: Run | None = None,
    foresee: Foresee | None = None,
) -> dict[Detector, Curve]:
    """Runs every detector over an episode.

    Args:
        run: the model.
        reference: the same run, untrained.
        frames: (K + 1, H, W, 3) uint8, every frameskip-th frame of the episode.
        actions: (K * frameskip, A) in the environment's units; NaN where none was recorded.
        proprio: (K + 1, P) beside the frames, in the environment's units, for a run that takes it.
        beside: another run that takes the same inputs, as one more detector.
        foresee: computes surprise some model steps ahead; one step ahead if not given.
    """
    steps = len(frames) - 1
    recorded = ~np.isnan(actions.reshape(steps, -1)).any(axis=1)
    latents = run.embed(frames, proprio)
    scaled = frames.astype(np.float32) / 255

    def foreseen(by: Run, latents: Tensor) -> Curve:
        blocks = torch.from_numpy(by.card.inputs.actions.normalize(actions).reshape(steps, -1)).to(by.device)
        values = (foresee or surprise)(by, latents, blocks).tolist()
        later = steps - len(values)  # the first frames are nearer to the first than is looked ahead
        # A prediction is worth nothing if any action of its context is unknown.
        contexts = (recorded[max(0, k + 1 - by.model.history) : k + 1 + later] for k in range(len(values)))
        known = (value if seen.all() else None for value, seen in zip(values, contexts, strict=True))
        return (*[None] * later, *known)

    curves: dict[Detector, Curve] = {
        "model": foreseen(run, latents),
        "untrained": foreseen(reference, reference.embed(frames, proprio)),
        "latent": tuple((latents[1:] - latents[:-1]).square().sum(dim=1).tolist()),
        "pixels": tuple(np.square(scaled[1:] - scaled[:-1]).mean(axis=(1, 2, 3)).tolist()),
    }
    return curves | {"beside": foreseen(beside, beside.embed(frames, proprio))} if beside else curves


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
