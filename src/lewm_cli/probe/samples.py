"""Samples for probes: frames of unseen episodes, the quantities in them, and the features they are read from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Dataset, Frames
from lewm_cli.errors import LewmError
from lewm_cli.heads import Recorded, along_components, in_parts, latent_view, probed_width, read_targets
from lewm_cli.store import Run
from lewm_cli.tasks import ProbeTarget, Task

TEST_SHARE = 0.2

FEWEST_TEST = 5
"""Test episodes that an interval over episodes needs, where half of all are as many."""


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
        model: (N, D) latents, or their coordinates along as many principal components as `probed_width` says.
        untrained: (N, D) the same of a model of the same sizes that has learned nothing, its frozen encoder the same.
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

    Principal components are found in at most 2000 rows that are not tested; the seed decides which ones, and the
    untrained model.
    """
    recorded, train = Recorded(frames, run.recorded_proprio(dataset)), samples.rows[~samples.test]
    views = [
        latent_view(run, recorded, train, seed),
        latent_view(run.untrained(seed), recorded, train, seed),
        along_components(_flat, recorded, train, probed_width(run), seed),
    ]
    parts = []
    for part in in_parts(samples.rows):
        seen = recorded.rows(part)
        parts.append([view(*seen) for view in views])
        advance(len(part))
    return Features(*(torch.cat(part).double().cpu() for part in zip(*parts, strict=True)))


def _flat(frames: np.ndarray, proprio: np.ndarray | None) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames)).flatten(1).float() / 255
