"""Clips: short windows of frames and the actions between them, never across an episode's end."""

from dataclasses import dataclass

import numpy as np

from lewm_cli.config import DataConfig
from lewm_cli.data.dataset import Dataset
from lewm_cli.errors import LewmError


@dataclass(frozen=True)
class ClipIndex:
    """First rows of all clips of a set of episodes.

    Args:
        starts: (K,) first row of each clip.
        frames: frames per clip (history length plus one).
        frameskip: rows from one frame to the next.
    """

    starts: np.ndarray
    frames: int
    frameskip: int

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def span(self) -> int:
        """Rows that a clip covers: every frame with the whole action block after it."""
        return self.frames * self.frameskip


@dataclass(frozen=True)
class Split:
    """Clips to train on and clips held out.

    Args:
        held_out: those that measurements during training use.
        held_out_episodes: (V,) numbers of the episodes never trained on; empty for the clip split.
    """

    train: ClipIndex
    held_out: ClipIndex
    held_out_episodes: np.ndarray


def split_clips(dataset: Dataset, config: DataConfig, frames: int, seed: int) -> Split:
    """Cut a recording into clips and hold some out, by whole episodes unless the configuration says otherwise.

    Raises:
        LewmError: no episode is as long as a clip, or too few are to hold one out.
    """
    span = frames * config.frameskip
    usable = np.flatnonzero(dataset.lengths >= span)
    if len(usable) == 0:
        raise LewmError(
            f"{dataset.path}: the longest of {dataset.episodes} episodes has {dataset.lengths.max()} rows, but a clip "
            f"needs {span} ({frames} frames x frameskip {config.frameskip}); record longer episodes or lower "
            "data.frameskip with --set"
        )
    generator = np.random.default_rng(seed)
    if config.split == "clip":
        starts = generator.permutation(_starts(dataset, usable, span))
        held_out = max(1, round(config.validation * len(starts)))
        parts, episodes = (np.sort(starts[held_out:]), np.sort(starts[:held_out])), np.array([], np.int64)
    else:
        if len(usable) < 2:
            raise LewmError(
                f"{dataset.path} has one episode that is long enough, and one must be held out; "
                "record more with `lewm collect`"
            )
        count = min(len(usable) - 1, max(1, round(config.validation * len(usable))))
        episodes = np.sort(generator.permutation(usable)[:count])
        train = np.setdiff1d(usable, episodes)
        parts = (_starts(dataset, train, span), _starts(dataset, episodes, span))
    train_clips, held_out_clips = (ClipIndex(part, frames, config.frameskip) for part in parts)
    if len(held_out_clips) < 2:
        raise LewmError(
            f"{dataset.path}: only {len(held_out_clips)} clip would be held out, too few to measure anything; "
            "record more episodes, or hold out more with --set data.validation=0.5"
        )
    return Split(train_clips, held_out_clips, episodes)


def _starts(dataset: Dataset, episodes: np.ndarray, span: int) -> np.ndarray:
    return np.concatenate([np.arange(dataset.lengths[e] - span + 1) + dataset.offsets[e] for e in episodes]).astype(
        np.int64
    )
