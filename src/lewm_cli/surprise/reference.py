"""The untrained model that the trained one is compared with."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import torch

from lewm_cli.data import Dataset, Frames
from lewm_cli.methods import Batch
from lewm_cli.model import normalize_pixels
from lewm_cli.store import Run
from lewm_cli.surprise.curves import model_steps

CALIBRATION_EPISODES = 16


def untrained_reference(run: Run, dataset: Dataset, frames: Frames, seed: int) -> Run:
    """Builds the same run with random weights, and BatchNorm statistics that fit them.

    With the statistics that a new model starts with, its latents would hardly move, and it would be no floor.

    Args:
        run: the model.
        dataset: the recording; its first 16 episodes of at least two steps give the statistics.
        frames: of it, at the model's image size.
        seed: of the weights.
    """
    fresh = run.untrained(seed)
    return replace(fresh, model=fresh.model.published(_clips(run, dataset, frames)))


def _clips(run: Run, dataset: Dataset, frames: Frames) -> Iterator[Batch]:
    """Windows of every episode: pixels (B, T, 3, H, W) and the blocks between and after them (B, T, block_dim)."""
    inputs = run.card.inputs
    episodes = zip(dataset.offsets, dataset.lengths, strict=True)
    every = ((first, model_steps(rows, inputs.frameskip)) for first, rows in episodes)
    usable = ((first, steps) for first, steps in every if steps >= 2)  # one prediction has no statistics
    for first, steps in islice(usable, CALIBRATION_EPISODES):
        seen = frames.rows(first + inputs.frameskip * np.arange(steps + 1))
        pixels = normalize_pixels(torch.from_numpy(seen).to(run.device), inputs.pixels)
        taken = inputs.actions.normalize(dataset.actions[first : first + inputs.frameskip * steps])
        blocks = torch.from_numpy(taken.reshape(steps, -1)).to(run.device)
        blocks = torch.cat([blocks, torch.zeros_like(blocks[:1])])  # after the last frame; predicts nothing
        window = min(run.model.history, int(steps)) + 1
        yield Batch(pixels.unfold(0, window, 1).movedim(-1, 1), blocks.unfold(0, window, 1).movedim(-1, 1))
