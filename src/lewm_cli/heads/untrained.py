"""The reference beside what a run has learned: a model of the same sizes that has learned nothing."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import torch

from lewm_cli.data import Dataset, Frames
from lewm_cli.model import Batch, normalize_pixels
from lewm_cli.store import Run

CALIBRATION_EPISODES = 16


def model_steps(rows: int, frameskip: int) -> int:
    """Model steps K in an episode of so many rows: K + 1 frames, and an action block between any two."""
    return (rows - 1) // frameskip


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
