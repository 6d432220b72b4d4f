"""Samples for probes: frames of unseen episodes, the quantities in them, and the features they are read from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Dataset, Frames
from lewm_cli.errors import LewmError
from lewm_cli.heads import read_targets
from lewm_cli.store import Run
from lewm_cli.tasks import ProbeTarget, Task

TEST_SHARE = 0.2

FEWEST_TEST = 5
"""Test episodes that an interval over episodes needs, where half of all are as many."""

FRAMES_AT_ONCE = 256
FITTED_FRAMES = 2000
"""Training frames that principal components are found in."""

SPARE = 8
"""Components found and not kept: the last ones of a randomized decomposition are inexact."""


@dataclass(frozen=True)
class ProbeSamples:
    """Rows to probe, split by episode.

    Args:
        rows: (N,) rows of the recording.
        episodes: (N,) episode number of each.
        test: (N,) bool, true for rows of a test episode.
        targets: the quantities that can be probed, K of them.
        values: (N, K) float64 in the units of the targets.
        left_out: quantities that cannot be probed, and why.
    """

    rows: np.ndarray
    episodes: np.ndarray
    test: np.ndarray
    targets: tuple[ProbeTarget, ...]
    values: np.ndarray
    left_out: dict[str, str]


@dataclass(frozen=True)
class Features:
    """The same N frames seen in three ways, float64 on the CPU.

    Args:
        model: (N, D) latents.
        untrained: (N, D) latents of a model of the same sizes that has learned nothing.
        pixels: (N, D) coordinates along the first principal components of raw pixels.
    """

    model: Tensor
    untrained: Tensor
    pixels: Tensor


def draw_samples(dataset: Dataset, task: Task, episodes: np.ndarray, *, frames: int, seed: int) -> ProbeSamples:
    """Draws frames, all there are if fewer, from episodes (V,), a fifth of which (whole ones) become the test set.

    Raises:
        LewmError: the task names no quantity, there are fewer than five episodes, their frames are nearly all of one
            side of the split, or nothing in them can be probed.
    """
    if not task.probe_targets:
        raise LewmError(f"the task {task.name} names no quantity to probe; only tasks with a simulator do")
    if len(episodes) < 5:
        raise LewmError(
            f"only {len(episodes)} episodes of {dataset.name} may be used, too few to train and test a probe on "
            "different ones; record more and name them with --dataset"
        )
    generator = np.random.default_rng(seed)
    tested = generator.permutation(episodes)[
        : max(min(FEWEST_TEST, len(episodes) // 2), round(TEST_SHARE * len(episodes)))
    ]
    ordered = np.sort(episodes)
    every = np.concatenate([dataset.offsets[e] + np.arange(dataset.lengths[e]) for e in ordered])
    kept = np.sort(generator.permutation(len(every))[:frames])
    rows, owners = every[kept], np.repeat(ordered, dataset.lengths[ordered])[kept]
    test = np.isin(owners, tested)
    if min(test.sum(), np.sum(~test)) < 2:
        raise LewmError(
            f"of the {len(rows)} frames drawn from {dataset.name}, {test.sum()} are of test episodes, and at least two "
            "are needed to train a probe and two to test it; draw more with --frames, or record longer episodes"
        )
    return ProbeSamples(rows, owners, test, *read_targets(dataset, task.probe_targets, rows, test))


def encode(
    run: Run, dataset: Dataset, frames: Frames, samples: ProbeSamples, seed: int, advance: Callable[[int], None]
) -> Features:
    """Encodes the frames of samples of a recording once, in three ways.

    Principal components are found in the pixels of at most 2000 rows that are not tested; the seed decides which ones,
    and the untrained model.
    """
    untrained, proprio = run.untrained(seed), run.recorded_proprio(dataset)
    rows, train = samples.rows, ~samples.test
    chosen = np.sort(np.random.default_rng(seed).permutation(rows[train])[:FITTED_FRAMES])
    fitted, width = _flat(frames.rows(chosen)), run.world_model.config.latent_dim
    mean = fitted.mean(dim=0)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        found = min(width + SPARE, *fitted.shape)
        _, _, axes = torch.pca_lowrank(fitted - mean, q=found, center=False, niter=4)
    parts = []
    for start in range(0, len(rows), FRAMES_AT_ONCE):
        part = rows[start : start + FRAMES_AT_ONCE]
        seen, beside = frames.rows(part), None if proprio is None else proprio[part]
        own = (one.embed(seen, beside) for one in (run, untrained))
        parts.append((*own, (_flat(seen) - mean) @ axes[:, :width]))
        advance(len(seen))
    return Features(*(torch.cat(part).double().cpu() for part in zip(*parts, strict=True)))


def _flat(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames)).flatten(1).float() / 255
