"""Samples for probes: frames of unseen episodes, the quantities in them, and the features they are read from."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from lewm_cli.data import Dataset, Frames
from lewm_cli.errors import LewmError
from lewm_cli.heads import read_targets
from lewm_cli.methods import JEPA
from lewm_cli.store import Run
from lewm_cli.tasks import ProbeTarget, Task

View = Callable[[np.ndarray, np.ndarray | None], Tensor]
"""Turns frames (N, H, W, 3) uint8, and proprioception (N, P) for a run that takes it, into features (N, D)."""

TEST_SHARE = 0.2

FEWEST_TEST = 5
"""Test episodes that an interval over episodes needs, where half of all are as many."""

FRAMES_AT_ONCE = 256
FITTED_FRAMES = 2000
"""Training frames that principal components are found in."""

WIDEST = 512
"""Latents of more dimensions, those of patch tokens, are probed through so many of their principal components."""

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
        coordinates: (N, C) float64 of each of them.
        left_out: quantities that cannot be probed, and why.
        frameskip: rows over which differences are taken.
    """

    rows: np.ndarray
    episodes: np.ndarray
    test: np.ndarray
    targets: tuple[ProbeTarget, ...]
    coordinates: tuple[np.ndarray, ...]
    left_out: dict[str, str]
    frameskip: int = 1

    @property
    def tested(self) -> np.ndarray:
        """Numbers of the episodes (E,) that probes are tested on."""
        return np.unique(self.episodes[self.test])

    def split_anew(self, seed: int) -> Self:
        """The same frames, other episodes of which become the test set; raises LewmError if hardly any frame does."""
        drawn = draw_tested(np.unique(self.episodes), np.random.default_rng(seed))
        test = np.isin(self.episodes, drawn)
        _require_both(test, f"the recording and split under seed {seed}")
        return replace(self, test=test)

    def fewer(self, frames: int, seed: int) -> np.ndarray:
        """So many of the training rows, (N,) bool; more contain fewer, if the seed is the same."""
        kept = np.zeros(len(self.rows), bool)
        kept[np.random.default_rng(seed).permutation(np.flatnonzero(~self.test))[:frames]] = True
        return kept


@dataclass(frozen=True)
class Recorded:
    """A recording as a run sees it: frames and, if it takes it, proprioception (N, P) of all rows."""

    frames: Frames
    proprio: np.ndarray | None

    def rows(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Frames (K, H, W, 3) and proprioception (K, P) of the given rows."""
        return self.frames.rows(rows), None if self.proprio is None else self.proprio[rows]


@dataclass(frozen=True)
class LatentView:
    """The latents of a run as they are probed: whole, or along their first principal components."""

    run: Run
    components: "Components | None"

    def __call__(self, frames: np.ndarray, proprio: np.ndarray | None) -> Tensor:
        """Shows frames to probes, as any `View` does."""
        return self.of(self.run.embed(frames, proprio))

    def of(self, latents: Tensor) -> Tensor:
        """Shows latents (N, D) to probes: (N, K)."""
        return self.components.of(latents.float().cpu()) if self.components else latents


@dataclass(frozen=True)
class Components:
    """Principal components: mean (D,) and axes (D, K) of what they were found in."""

    mean: Tensor
    axes: Tensor

    def of(self, values: Tensor) -> Tensor:
        """Coordinates (N, K) of values (N, D) along them."""
        along: Tensor = (values - self.mean) @ self.axes
        return along


@dataclass(frozen=True)
class Features:
    """The same N frames seen in several ways, float64 on the CPU.

    Args:
        model: (N, D) latents, or their coordinates along as many principal components as `probed_width` says.
        history: (N, H * D) the same of the frames of the last H model steps, the oldest first.
        encoder: (N, E) what the encoder gives to the projector, its CLS token; None for a network without projector.
        untrained: (N, D) as `model` of a model of the same sizes that has learned nothing, its frozen encoder the same.
        pixels: (N, D) coordinates along the first principal components of raw pixels.
        view: that gave `model`.
    """

    model: Tensor
    history: Tensor
    encoder: Tensor | None
    untrained: Tensor
    pixels: Tensor
    view: LatentView


def draw_samples(
    dataset: Dataset, task: Task, episodes: np.ndarray, *, frames: int, seed: int, before: int = 0, frameskip: int = 1
) -> ProbeSamples:
    """Draws frames, all there are if fewer, from episodes (V,), a fifth of which (whole ones) become the test set.

    Args:
        before: rows of its episode that lie before any frame, for those that look back.
        frameskip: rows over which differences are taken; where one is, at least so many lie before any frame.

    Raises:
        LewmError: the task names no quantity, there are fewer than five episodes, none is long enough, their frames are
            nearly all of one side of the split, or nothing in them can be probed.
    """
    if not task.probe_targets:
        raise LewmError(f"the task {task.name} names no quantity to probe; only tasks with a simulator do")
    if len(episodes) < 5:
        raise LewmError(
            f"only {len(episodes)} episodes of {dataset.name} may be used, too few to train and test a probe on "
            "different ones; record more and name them with --dataset"
        )
    if any(target.rate == "differenced" for target in task.probe_targets):
        before = max(before, frameskip)
    generator = np.random.default_rng(seed)
    tested = draw_tested(episodes, generator)
    ordered = np.sort(episodes)
    every = np.concatenate([dataset.offsets[e] + np.arange(before, dataset.lengths[e]) for e in ordered])
    kept = np.sort(generator.permutation(len(every))[:frames])
    rows, owners = every[kept], np.repeat(ordered, (dataset.lengths[ordered] - before).clip(0))[kept]
    test = np.isin(owners, tested)
    _require_both(test, f"{dataset.name}, each with {before} rows before it" if before else dataset.name)
    read = read_targets(dataset, task.probe_targets, rows, test, frameskip)
    return ProbeSamples(rows, owners, test, *read, frameskip)


def _require_both(test: np.ndarray, origin: str) -> None:
    if min(test.sum(), np.sum(~test)) < 2:
        raise LewmError(
            f"of the {len(test)} frames drawn from {origin}, {test.sum()} are of test episodes, and at least two are "
            "needed to train a probe and two to test it; draw more with --frames, or record longer episodes"
        )


def draw_tested(episodes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draws those of the episodes (V,) that probes are tested on."""
    return generator.permutation(episodes)[
        : max(min(FEWEST_TEST, len(episodes) // 2), round(TEST_SHARE * len(episodes)))
    ]


def rows_before(run: Run) -> int:
    """Rows before a frame that its history takes."""
    return (run.model.history - 1) * run.card.inputs.frameskip


def encode(
    run: Run, dataset: Dataset, frames: Frames, samples: ProbeSamples, seed: int, advance: Callable[[int], None]
) -> Features:
    """Encodes the frames of samples of a recording once in every way, and those of their history.

    Principal components are found in at most 2000 rows that are not tested; the seed decides which ones, and the
    untrained model.

    Args:
        samples: drawn with the `rows_before` of the run.
        advance: called with the number of samples encoded since the last call.
    """
    recorded, train = Recorded(frames, run.recorded_proprio(dataset)), samples.rows[~samples.test]
    view = latent_view(run, recorded, train, seed)
    plain = latent_view(run.untrained(seed), recorded, train, seed)
    width = probed_width(run)
    pixels = _find_components(_flat, recorded, train, width, seed)
    past = samples.rows[:, None] - run.card.inputs.frameskip * np.arange(run.model.history)[::-1]
    needed, places = np.unique(past, return_inverse=True)
    latents, untrained, flat = [], [], []
    with _projected(run) as tokens:
        for part in in_parts(needed):
            own = np.isin(part, samples.rows)
            frames_seen, proprio = recorded.rows(part)
            latents.append(view(frames_seen, proprio))
            seen = frames_seen[own], None if proprio is None else proprio[own]
            if own.any():
                untrained.append(plain(*seen))
                flat.append(pixels.of(_flat(*seen)))
            advance(int(own.sum()))
    every = torch.cat(latents).double().cpu()[torch.from_numpy(places.reshape(past.shape))]
    return Features(
        model=every[:, -1],
        history=every.flatten(1),
        encoder=torch.cat(tokens).double()[np.isin(needed, samples.rows)] if tokens else None,
        untrained=torch.cat(untrained).double().cpu(),
        pixels=torch.cat(flat).double(),
        view=view,
    )


def latent_view(run: Run, recorded: Recorded, train: np.ndarray, seed: int) -> LatentView:
    """The latents of a run as they are probed: whole, or along components that are found in these rows (M,)."""
    width, whole = probed_width(run), LatentView(run, None)
    if width == run.world_model.config.latent_dim:
        return whole
    found = _find_components(lambda *seen: whole(*seen).float().cpu(), recorded, train, width, seed)
    return LatentView(run, found)


def probed_width(run: Run) -> int:
    """Numbers per frame that probes see."""
    return min(run.world_model.config.latent_dim, WIDEST)


def in_parts(rows: np.ndarray) -> list[np.ndarray]:
    """Rows (N,) in parts that are encoded at once."""
    return np.array_split(rows, range(FRAMES_AT_ONCE, len(rows), FRAMES_AT_ONCE))


def _find_components(view: View, recorded: Recorded, train: np.ndarray, width: int, seed: int) -> Components:
    """The first principal components of a view in some of these rows (M,)."""
    chosen = np.sort(np.random.default_rng(seed).permutation(train)[:FITTED_FRAMES])
    fitted = torch.cat([view(*recorded.rows(part)) for part in in_parts(chosen)])
    mean = fitted.mean(dim=0)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        found = min(width + SPARE, *fitted.shape)
        _, _, axes = torch.pca_lowrank(fitted - mean, q=found, center=False, niter=4)
    return Components(mean, axes[:, :width])


@contextmanager
def _projected(run: Run) -> Iterator[list[Tensor]]:
    """Collects what a network's encoder gives to its projector, (N, E) on the CPU, while frames are embedded."""
    tokens: list[Tensor] = []
    if not isinstance(run.model, JEPA):
        yield tokens
        return
    hook = run.model.projector.register_forward_pre_hook(
        lambda _, given: tokens.append(given[0].flatten(0, -2).float().cpu())
    )
    try:
        yield tokens
    finally:
        hook.remove()


def _flat(frames: np.ndarray, proprio: np.ndarray | None) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames)).flatten(1).float() / 255
