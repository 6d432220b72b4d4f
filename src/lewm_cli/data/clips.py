"""Clips: short windows of frames and the actions between them, never across an episode's end, and batches of them.

The order of batches is a function of seed and step alone, so that a resumed run sees the same ones.
"""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from copy import copy
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import count
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from lewm_cli.config import DataConfig, Goals, Inputs
from lewm_cli.data.dataset import Dataset
from lewm_cli.data.frames import Frames
from lewm_cli.errors import LewmError
from lewm_cli.workers import LOOK_SECONDS, Answer, Waiting, WorkerDiedError, answers

GOALS = 1
"""Beside seed and step: goals are drawn with numbers of their own, and the order of clips is the same without them."""


@dataclass(frozen=True)
class ClipIndex:
    """First rows of all clips of a set of episodes.

    Args:
        starts: (K,) first row of each clip.
        frames: frames per clip (history length plus one).
        frameskip: rows from one frame to the next.
        episodes: (E, 2) first row and rows of each episode that goals are from, in the order of the rows.
    """

    starts: np.ndarray
    frames: int
    frameskip: int
    episodes: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int64))

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def span(self) -> int:
        """Rows that a clip covers: every frame with the whole action block after it."""
        return self.frames * self.frameskip

    def goals(self, kinds: Goals, clips: list[int], generator: np.random.Generator) -> np.ndarray:
        """Draw a goal for each of the clips (B,): its row.

        The present is the last frame of the history. Its clip goes on for a frame at least, so there is a later one.
        """
        now, many = self.starts[clips] + (self.frames - 2) * self.frameskip, len(clips)
        firsts, rows = self.episodes.T
        own = np.searchsorted(firsts, now, side="right") - 1
        later = (firsts[own] + rows[own] - 1 - now) // self.frameskip
        ends = rows.cumsum()
        anywhere = generator.integers(ends[-1], size=many)
        its = np.searchsorted(ends, anywhere, side="right")
        steps = np.stack(
            [
                np.minimum(generator.geometric(kinds.nearness, size=many), later),
                generator.integers(1, later + 1),
                np.zeros(many, np.int64),
            ]
        )
        rows_of_kinds = np.concatenate([[firsts[its] + anywhere - (ends - rows)[its]], now + steps * self.frameskip])
        drawn: np.ndarray = rows_of_kinds[generator.choice(4, size=many, p=kinds.shares), np.arange(many)]
        return drawn


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
        sides = (usable, usable)
    else:
        if len(usable) < 2:
            raise LewmError(
                f"{dataset.path} has one episode that is long enough, and one must be held out; record more, or hold "
                "out clips of that one with --set data.split=clip"
            )
        count = min(len(usable) - 1, max(1, round(config.validation * len(usable))))
        episodes = np.sort(generator.permutation(usable)[:count])
        train = np.setdiff1d(usable, episodes)
        parts, sides = (_starts(dataset, train, span), _starts(dataset, episodes, span)), (train, episodes)
    train_clips, held_out_clips = (
        ClipIndex(part, frames, config.frameskip, _rows(dataset, side)) for part, side in zip(parts, sides, strict=True)
    )
    if len(held_out_clips) < 2:
        raise LewmError(
            f"{dataset.path}: only {len(held_out_clips)} clip would be held out, too few to measure anything; "
            "record more episodes, or hold out more with --set data.validation=0.5"
        )
    return Split(train_clips, held_out_clips, episodes)


def _starts(dataset: Dataset, episodes: np.ndarray, span: int) -> np.ndarray:
    return np.concatenate([np.arange(dataset.lengths[e] - span + 1) + dataset.offsets[e] for e in episodes])


def _rows(dataset: Dataset, episodes: np.ndarray) -> np.ndarray:
    rows = np.stack([dataset.offsets[episodes], dataset.lengths[episodes]], axis=1)
    return rows[rows[:, 0].argsort()]


@dataclass(frozen=True)
class Clip:
    """A batch of clips.

    Args:
        pixels: (B, T, H, W, 3) uint8 frames; of frames that were encoded before, (B, T) int64 their rows.
        blocks: (B, T, frameskip * A) float32 normalized action blocks, one after each frame.
        proprio: (B, T, P) float32 normalized proprioception; None for a network that does not take it.
        goals: (B, H, W, 3) uint8 frames that the clips are to lead to, or (B,) int64 their rows; None for an objective
            without goals.
    """

    pixels: Tensor
    blocks: Tensor
    proprio: Tensor | None = None
    goals: Tensor | None = None

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """All tensors that it has."""
        return tuple(part for part in vars(self).values() if part is not None)

    def each(self, change: Callable[[Tensor], Tensor]) -> "Clip":
        """The same with every tensor changed."""
        changed: dict[str, Any] = {name: change(part) for name, part in vars(self).items() if part is not None}
        return replace(self, **changed)

    def split(self, parts: int) -> "list[Clip]":
        """The clips in so many parts of the same size."""
        pieces = zip(*(part.chunk(parts) for part in self.parts), strict=True)
        names = [name for name, part in vars(self).items() if part is not None]
        return [Clip(**dict(zip(names, piece, strict=True))) for piece in pieces]


class ClipBatches:
    """Cuts clips out of frames and actions.

    Args:
        actions: (N, A) actions of all rows, environment units.
        proprio: (N, P) proprioception of all rows, environment units; needed if the inputs have its statistics.
        pinned: lay batches where a GPU fetches them from by itself.
        encoded: frames were encoded before, so clips have the rows of theirs alone.
    """

    _goals: Goals | None = None

    def __init__(
        self,
        index: ClipIndex,
        frames: Frames,
        actions: np.ndarray,
        inputs: Inputs,
        *,
        proprio: np.ndarray | None = None,
        pinned: bool = False,
        encoded: bool = False,
    ) -> None:
        self.index = index
        self.frames = frames
        self.encoded = encoded
        self.actions = inputs.actions.normalize(actions)
        self.proprio = None
        if inputs.proprio is not None:
            assert proprio is not None
            self.proprio = inputs.proprio.normalize(proprio)
        self.pinned = pinned

    def toward(self, goals: Goals | None) -> Self:
        """The same with goals of these kinds, or without."""
        aimed = copy(self)
        aimed._goals = goals
        return aimed

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, clips: list[int]) -> Clip:
        """The clips with these numbers as one batch; their goals are the same each time."""
        return self._cut(clips, np.random.default_rng(clips), self.pinned)

    def _cut(self, clips: list[int], generator: np.random.Generator, pinned: bool) -> Clip:
        index, size = self.index, self.frames.size
        starts = index.starts[clips][:, None]
        frame_rows = starts + np.arange(index.frames) * index.frameskip
        rows = frame_rows.ravel()
        if self._goals:
            rows = np.concatenate([rows, index.goals(self._goals, clips, generator)])
        if self.encoded:
            frames = torch.from_numpy(rows)
        elif pinned:  # torch keeps pinned memory for the next batch
            frames = torch.empty((len(rows), size, size, 3), dtype=torch.uint8, pin_memory=True)
            self.frames.read(rows, frames.numpy())
        else:  # NumPy's, for it asks for large pages: torch's costs four times as much to fill
            frames = torch.from_numpy(self.frames.rows(rows))
        blocks = torch.from_numpy(self.actions[starts + np.arange(index.span)]).reshape(len(clips), index.frames, -1)
        pixels, goals = frames[: frame_rows.size], frames[frame_rows.size :]
        pixels = pixels.reshape(*frame_rows.shape, *frames.shape[1:])
        proprio = None if self.proprio is None else torch.from_numpy(self.proprio[frame_rows])
        clip = Clip(pixels, blocks, proprio, goals if self._goals else None)
        # Frames are pinned already, which leaves them as they are.
        return clip.each(Tensor.pin_memory) if pinned else clip

    def _batch(self, batch_size: int, seed: int, pinned: bool, step: int) -> Clip:
        clips = _numbers(len(self), batch_size, seed, step)
        return self._cut(clips, np.random.default_rng([seed, step, GOALS]), pinned)

    def stream(
        self, batch_size: int, seed: int, first_step: int, workers: int, waiting: Waiting = lambda: None
    ) -> Generator[Clip, None, None]:
        """Endless training batches, of at most as many clips as there are, from a step on; closing it ends the workers.

        Whole epochs, each in its own order, the rest dropped. Workers are threads where those can read frames side by
        side, else processes. `waiting` is called now and then while one is waited for; what it raises ends the stream.

        Raises:
            LewmError: the recording is damaged.
            WorkerDiedError: a worker ended, for example because memory ran out.
        """
        batch = partial(self._batch, batch_size, seed, self.pinned)
        if not workers:
            yield from map(batch, count(first_step))
            return
        if self.encoded or self.frames.in_threads:
            yield from self._in_threads(batch, first_step, workers, waiting)
            return
        unpinned = partial(self._batch, batch_size, seed, False)  # a fork cannot use the GPU
        try:
            for arrays in answers(partial(_answer, unpinned), count(first_step), workers, waiting):
                clip = Clip(**{name: torch.from_numpy(part) for name, part in arrays.items()})
                yield clip.each(Tensor.pin_memory) if self.pinned else clip
        except WorkerDiedError as death:
            raise WorkerDiedError(f"a process that prepares batches {death}") from death

    def _in_threads(
        self, batch: Callable[[int], Clip], first_step: int, workers: int, waiting: Waiting
    ) -> Generator[Clip, None, None]:
        pool, ahead = ThreadPoolExecutor(workers), deque[Future[Clip]]()
        try:
            for step in count(first_step):
                ahead.append(pool.submit(batch, step))
                if len(ahead) > workers + 1:
                    while not wait([ahead[0]], LOOK_SECONDS).done:
                        waiting()
                    yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _answer(batch: Callable[[int], Clip]) -> Answer:
    """Called in a worker, which hands over arrays: torch's tensors would need /dev/shm."""

    def arrays(step: int) -> dict[str, np.ndarray]:
        return {name: part.numpy() for name, part in vars(batch(step)).items() if part is not None}

    torch.set_num_threads(1)
    return arrays


def _numbers(clips: int, batch_size: int, seed: int, step: int) -> list[int]:
    """Numbers of the clips of the batch at a step."""
    epoch, within = divmod(step, clips // batch_size)
    numbers: list[int] = _order(clips, seed, epoch)[within * batch_size : (within + 1) * batch_size].tolist()
    return numbers


@lru_cache(maxsize=1)
def _order(clips: int, seed: int, epoch: int) -> np.ndarray:
    """Every epoch has one of its own."""
    return np.random.default_rng([seed, epoch]).permutation(clips)
