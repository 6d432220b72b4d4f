"""Batches of clips in an order that is a function of seed and step alone, so that a resumed run sees the same ones."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lewm_cli.config import Inputs
from lewm_cli.data.clips import ClipIndex
from lewm_cli.data.frames import Frames
from lewm_cli.errors import LewmError
from lewm_cli.workers import behave_as_worker, starting_workers


@dataclass(frozen=True)
class Clip:
    """A batch of clips.

    Args:
        pixels: (B, T, H, W, 3) uint8 frames.
        blocks: (B, T, frameskip * A) float32 normalized action blocks, one after each frame.
    """

    pixels: Tensor
    blocks: Tensor


class ClipBatches(Dataset[Clip]):
    """Cuts clips out of frames and actions.

    Args:
        actions: (N, A) actions of all rows, environment units.
    """

    def __init__(self, index: ClipIndex, frames: Frames, actions: np.ndarray, inputs: Inputs) -> None:
        self.index = index
        self.frames = frames
        self.actions = inputs.actions.normalize(actions)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, clips: list[int]) -> Clip:
        """The clips with these numbers as one batch."""
        index = self.index
        starts = index.starts[clips][:, None]
        frame_rows = starts + np.arange(index.frames) * index.frameskip
        pixels = self.frames.rows(frame_rows.ravel())
        actions = self.actions[starts + np.arange(index.span)]
        return Clip(
            pixels=torch.from_numpy(np.ascontiguousarray(pixels)).reshape(*frame_rows.shape, *pixels.shape[1:]),
            blocks=torch.from_numpy(actions).reshape(len(clips), index.frames, -1),
        )

    def stream(self, batch_size: int, seed: int, first_step: int, workers: int) -> Generator[Clip, None, None]:
        """Endless training batches, of at most as many clips as there are, from a step on; closing it ends the workers.

        Whole epochs, each in its own order, the rest dropped.

        Raises:
            LewmError: the recording is damaged.
        """
        loader = DataLoader(
            self,
            sampler=_batches(len(self), batch_size, seed, first_step),
            batch_size=None,
            num_workers=workers,
            # Its own generator: the global one must not depend on how often a run was resumed.
            generator=torch.Generator().manual_seed(seed),
            worker_init_fn=_start_worker,
        )
        with starting_workers():
            batches = iter(loader)
        try:
            yield from batches
        except LewmError as error:
            # A worker's error comes wrapped in its traceback; the last line is the message.
            raise LewmError(
                str(error).strip().splitlines()[-1].removeprefix(f"{LewmError.__module__}.LewmError: ")
            ) from error
        finally:
            if workers:
                # Not when the iterator is collected: where a traceback holds it until Python exits, that waits for
                # workers which do not hear its SIGTERM.
                batches._shutdown_workers()  # type: ignore[attr-defined]


def _start_worker(number: int) -> None:
    behave_as_worker()


def _batches(clips: int, batch_size: int, seed: int, step: int) -> Iterator[list[int]]:
    """Numbers of the clips of each batch from a step on, in an order of its own for every epoch."""
    per_epoch = clips // batch_size
    while True:
        epoch, within = divmod(step, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(clips)
        for batch in range(within, per_epoch):
            yield order[batch * batch_size : (batch + 1) * batch_size].tolist()
            step += 1
