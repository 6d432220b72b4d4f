"""Frames and the quantities in them, from episodes that the model has not seen."""

from dataclasses import dataclass

import numpy as np

from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError
from lewm_cli.heads import read_target, reason_to_leave_out
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


def draw_samples(dataset: Dataset, task: Task, episodes: np.ndarray, *, frames: int, seed: int) -> ProbeSamples:
    """Draws frames from episodes, a fifth of which (whole ones) become the test set.

    Args:
        dataset: the recording.
        task: names the quantities.
        episodes: (V,) numbers of the episodes that may be used.
        frames: how many to draw; all there are if fewer.
        seed: of split and draw.

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
    mixed = generator.permutation(episodes)
    tested = set(mixed[: max(min(FEWEST_TEST, len(episodes) // 2), round(TEST_SHARE * len(episodes)))].tolist())
    every = np.concatenate([dataset.offsets[e] + np.arange(dataset.lengths[e]) for e in sorted(episodes)])
    owners = np.concatenate([np.full(dataset.lengths[e], e) for e in sorted(episodes)])
    kept = np.sort(generator.permutation(len(every))[:frames])
    rows, owners = every[kept], owners[kept]
    test = np.isin(owners, list(tested))
    if min(test.sum(), np.sum(~test)) < 2:
        raise LewmError(
            f"of the {len(rows)} frames drawn from {dataset.name}, {test.sum()} are of test episodes, and at least two "
            "are needed to train a probe and two to test it; draw more with --frames, or record longer episodes"
        )
    targets, columns, left_out = [], [], {}
    for target in task.probe_targets:
        values = read_target(dataset, target, rows)
        reason = reason_to_leave_out(values, test)
        if reason:
            left_out[target.name] = reason
        else:
            targets.append(target)
            columns.append(values)
    if not targets:
        reasons = ", ".join(f"{name} {reason}" for name, reason in left_out.items())
        raise LewmError(f"nothing in {dataset.name} can be probed: {reasons}")
    return ProbeSamples(rows, owners, test, tuple(targets), np.stack(columns, axis=1), left_out)
