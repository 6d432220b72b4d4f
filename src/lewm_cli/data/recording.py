"""Recording demonstrations: simulators in worker processes, one HDF5 file in the released schema."""

import multiprocessing
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import torch
import torch.multiprocessing  # registers how tensors travel between processes
from torch import Tensor

from lewm_cli.errors import LewmError, TakenError
from lewm_cli.files import atomic_path, locked, remove_stale_parts
from lewm_cli.provenance import installed_versions
from lewm_cli.tasks import Episode, Simulator, Task
from lewm_cli.workers import behave_as_worker, starting_workers

FRAMES_PER_CHUNK = 100


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
        seed: episode k draws everything from (seed, k).
        any_start: take the simulator's own resets instead of the task's selection.

    Raises:
        TakenError: the file exists, or another process records it.
        LewmError: the disk is full, or the simulator cannot be built here or died.
    """
    with locked(path, f"another process is recording {path.name}; choose another --name"):
        if path.exists():
            raise TakenError(f"{path} exists already and recordings are never overwritten; choose another --name")
        remove_stale_parts(path)
        task.prepare()
        with atomic_path(path) as part, h5py.File(part, "w", libver=("v110", "v110"), locking=False) as file:
            lengths: list[int] = []
            pending = np.empty(0, np.uint8)
            columns: dict[str, list[np.ndarray]] = defaultdict(list)
            for number, episode in enumerate(_demonstrations(task, episodes, seed, workers, any_start)):
                rows = len(episode)
                own = {task.episode_column: np.full(rows, number), "step_idx": np.arange(rows)}
                for name, values in {"action": episode.action, **episode.columns, **own}.items():
                    columns[name].append(values)
                lengths.append(rows)
                # Whole chunks only: what HDF5 keeps for later, it cannot write on a full disk, and crashes.
                frames = np.concatenate([pending, episode.pixels]) if len(pending) else episode.pixels
                whole = len(frames) - len(frames) % FRAMES_PER_CHUNK
                _append_frames(file, frames[:whole])
                pending = frames[whole:].copy()
                advance(1)
            _append_frames(file, pending)
            for name, parts in columns.items():
                file[name] = np.concatenate(parts)
            file["ep_len"] = np.array(lengths)
            file["ep_offset"] = np.cumsum(lengths) - lengths
            file.attrs.update(
                task=task.name,
                seed=seed,
                policy=task.demonstrator,
                starts="any" if any_start else "task",
                versions=", ".join(f"{name} {version}" for name, version in installed_versions().items()),
            )


def _append_frames(file: h5py.File, frames: np.ndarray) -> None:
    shape = frames.shape[1:]
    pixels = file.get("pixels") or file.create_dataset(
        "pixels",
        shape=(0, *shape),
        maxshape=(None, *shape),
        dtype=np.uint8,
        chunks=(FRAMES_PER_CHUNK, *shape),
        fletcher32=True,  # a checksum; of flipped bits, LZ4 by itself notices one in three
        **hdf5plugin.Blosc(cname="lz4", clevel=5, shuffle=hdf5plugin.Blosc.NOSHUFFLE),
    )
    start = len(pixels)
    pixels.resize(start + len(frames), axis=0)
    pixels[start:] = frames


_simulator: Simulator
"""The simulator of a worker process."""


def _start_worker(make_simulator: Callable[[], Simulator]) -> None:
    global _simulator
    behave_as_worker()
    torch.set_num_threads(1)  # frames are drawn with torch, in several processes at once
    _simulator = make_simulator()


def _demonstrate(seed: int, number: int, any_start: bool) -> tuple[Tensor, Episode]:
    episode = _simulator.demonstrate(np.random.SeedSequence([seed, number]), any_start=any_start)
    # torch hands its tensors over in shared memory; 14 MB of frames through a pipe would cost a third of the time.
    return torch.from_numpy(episode.pixels), replace(episode, pixels=np.empty(0))


def _demonstrations(task: Task, episodes: int, seed: int, workers: int, any_start: bool) -> Iterator[Episode]:
    spawn = multiprocessing.get_context("spawn")
    assert task.make_simulator is not None, "only a task with a simulator can be recorded"
    pool = ProcessPoolExecutor(workers, spawn, _start_worker, (task.make_simulator,))
    try:
        waiting: deque[Future[tuple[Tensor, Episode]]] = deque()
        for number in range(episodes):
            with starting_workers():
                waiting.append(pool.submit(_demonstrate, seed, number, any_start))
            # Bounds the frames in shared memory, about 14 MB an episode.
            while len(waiting) > (2 * workers if number + 1 < episodes else 0):
                pixels, episode = waiting.popleft().result()
                yield replace(episode, pixels=pixels.numpy())
    except BrokenProcessPool as error:
        raise LewmError(
            "a simulator process died while recording; if memory or /dev/shm is short, try again with --workers 1"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
