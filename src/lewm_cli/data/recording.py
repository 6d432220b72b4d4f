"""Recording demonstrations: simulators in worker processes, one HDF5 file in the released schema."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import torch
import torch.multiprocessing  # registers how tensors travel between processes

from torch import Tensor

from lewm_cli import __version__
from lewm_cli.errors import LewmError
from lewm_cli.files import atomic_path, locked, remove_stale_parts
from lewm_cli.tasks import Episode, Simulator, Task, find_task
from lewm_cli.workers import behave_as_worker

FRAMES_PER_CHUNK = 100

CHUNK_CACHE = 64 << 20
"""Bytes; a chunk of frames is 15 MB, and one that does not fit is compressed again at every append."""


def record(
    task: Task,
    path: Path,
    *,
    episodes: int,
    seed: int,
    workers: int,
    any_start: bool,
    advance: Callable[[int], None],
) -> None:
    """Record demonstrations of a task into one file; the content depends on the seed, not on the workers.

    Every episode is kept, in order. The file appears under its name only when it is complete.

    Args:
        task: a task with a simulator.
        path: the HDF5 file to make.
        episodes: how many.
        seed: episode k draws everything from (seed, k).
        workers: simulator processes.
        any_start: take the simulator's own resets instead of the task's selection.
        advance: told the number of episodes written since the last call.

    Raises:
        LewmError: the file exists, another process records it, the disk is full, or a simulator died.
    """
    with locked(path, f"another process is recording {path.name}; choose another --name"):
        if path.exists():
            raise LewmError(f"{path} exists already and recordings are never overwritten; choose another --name")
        remove_stale_parts(path)
        recorded = _demonstrations(task, episodes, seed, workers, any_start)
        with atomic_path(path) as part, h5py.File(part, "w", libver="latest", rdcc_nbytes=CHUNK_CACHE) as file:
            writer = _Writer(file)
            for episode in recorded:
                writer.append(episode)
                advance(1)
            writer.finish(task, seed, any_start)


@dataclass
class _Writer:
    """Appends episodes to flat columns; episode bookkeeping is written last."""

    file: h5py.File
    lengths: list[int] = field(default_factory=list)

    def append(self, episode: Episode) -> None:
        rows = len(episode)
        self._extend("pixels", episode.pixels)
        self._extend("action", episode.action)
        for name, values in episode.columns.items():
            self._extend(name, values)
        self._extend("ep_idx", np.full(rows, len(self.lengths), np.int64))
        self._extend("step_idx", np.arange(rows, dtype=np.int64))
        self.lengths.append(rows)

    def finish(self, task: Task, seed: int, any_start: bool) -> None:
        lengths = np.array(self.lengths, np.int64)
        self.file["ep_len"] = lengths
        self.file["ep_offset"] = np.cumsum(lengths) - lengths
        self.file.attrs.update(
            task=task.name,
            seed=seed,
            policy=task.demonstrator,
            starts="any" if any_start else "task",
            versions=", ".join(
                [f"lewm-cli {__version__}"]
                + [f"{name} {version(name)}" for name in ("stable-worldmodel", "gymnasium", "numpy", "torch", "h5py")]
            ),
        )

    def _extend(self, name: str, values: np.ndarray) -> None:
        if name not in self.file:
            frames = name == "pixels"
            self.file.create_dataset(
                name,
                shape=(0, *values.shape[1:]),
                maxshape=(None, *values.shape[1:]),
                dtype=values.dtype,
                chunks=(FRAMES_PER_CHUNK if frames else 4096, *values.shape[1:]),
                **(hdf5plugin.Blosc(cname="lz4", clevel=5, shuffle=hdf5plugin.Blosc.NOSHUFFLE) if frames else {}),
            )
        column = self.file[name]
        start = len(column)
        column.resize(start + len(values), axis=0)
        column[start:] = values


_simulator: Simulator | None = None


def _start_worker(task_name: str) -> None:
    global _simulator
    behave_as_worker()
    _simulator = find_task(task_name).make_simulator()


def _demonstrate(seed: int, number: int, any_start: bool) -> tuple[Tensor, Episode]:
    episode = _simulator.demonstrate(np.random.SeedSequence([seed, number]), any_start=any_start)
    # torch hands its tensors over in shared memory; 14 MB of frames through a pipe would cost a third of the time.
    return torch.from_numpy(episode.pixels), replace(episode, pixels=np.empty(0))


def _demonstrations(task: Task, episodes: int, seed: int, workers: int, any_start: bool) -> Iterator[Episode]:
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker, (task.name,))
    try:
        waiting: deque[Future[tuple[Tensor, Episode]]] = deque()
        for number in range(episodes):
            waiting.append(pool.submit(_demonstrate, seed, number, any_start))
            if len(waiting) > 4 * workers:  # bounds the frames in memory, about 14 MB an episode
                yield _received(waiting.popleft())
        while waiting:
            yield _received(waiting.popleft())
    except BrokenProcessPool as error:
        raise LewmError("a simulator process died while recording; try again, with --workers 1 if it does") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _received(future: Future[tuple[Tensor, Episode]]) -> Episode:
    pixels, episode = future.result()
    return replace(episode, pixels=pixels.numpy())
