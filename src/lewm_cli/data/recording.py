"""Recording demonstrations: simulators in worker processes, one HDF5 file in the released schema."""

from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import torch

from lewm_cli.errors import LewmError, TakenError
from lewm_cli.files import atomic_path, locked, remove_stale_parts
from lewm_cli.provenance import installed_versions
from lewm_cli.suggestion import command
from lewm_cli.tasks import Episode, Task
from lewm_cli.workers import Answer, Waiting, WorkerDiedError, answers

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
    waiting: Waiting = lambda: None,
) -> None:
    """Record demonstrations of a task into one file; the content depends on the seed, not on the workers.

    Every episode is kept, in order. The file appears under its name only when it is complete.

    Args:
        seed: episode k draws everything from (seed, k).
        any_start: take the simulator's own resets instead of the task's selection.
        advance: called with 1 after every episode.
        waiting: called now and then while simulators are waited for; what it raises ends the recording.

    Raises:
        TakenError: the file exists, or another process records it.
        LewmError: the disk is full, or the simulator cannot be built here or died.
    """
    with locked(path, f"another process is recording {path.name}; choose another --name"):
        if path.exists():
            raise TakenError(f"{path} exists already and recordings are never overwritten; choose another --name")
        remove_stale_parts(path)
        task.prepare()
        made = _demonstrations(task, episodes, seed, workers, any_start, waiting)
        with (
            atomic_path(path) as part,
            h5py.File(part, "w", libver=("v110", "v110"), locking=False) as file,
            closing(made),
        ):
            lengths: list[int] = []
            pending = np.empty(0, np.uint8)
            columns: dict[str, list[np.ndarray]] = defaultdict(list)
            for number, episode in enumerate(made):
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


def _demonstrations(
    task: Task, episodes: int, seed: int, workers: int, any_start: bool, waiting: Waiting
) -> Generator[Episode, None, None]:
    simulated = partial(_demonstrator, task, seed, any_start)
    try:
        yield from answers(simulated, range(episodes), workers, waiting, how="spawn")
    except WorkerDiedError as death:
        advice = "try again with --workers 1" if workers > 1 else f"`{command('doctor')}` tries what simulators need"
        raise LewmError(f"a simulator process {death}; {advice}") from death


def _demonstrator(task: Task, seed: int, any_start: bool) -> Answer:
    """Make, in a worker, the function that records an episode by its number."""
    assert task.make_simulator is not None, "only a task with a simulator can be recorded"
    torch.set_num_threads(1)  # frames are drawn with torch, in several processes at once
    simulator = task.make_simulator()
    return lambda number: simulator.demonstrate(np.random.SeedSequence([seed, number]), any_start=any_start)
