"""Recording demonstrations: simulators in worker processes, one HDF5 file in the released schema."""

from collections import defaultdict
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import torch

from lewm_cli.data.frame_writer import USUAL, EncodedFrames, encode, written_frames
from lewm_cli.errors import LewmError, TakenError
from lewm_cli.files import atomic_path, locked, remove_stale_parts
from lewm_cli.provenance import installed_versions
from lewm_cli.suggestion import command
from lewm_cli.tasks import Episode, Task
from lewm_cli.workers import Answer, Waiting, WorkerDiedError, answers

Packed = tuple[EncodedFrames, Mapping[str, np.ndarray]]
"""An episode as it is stored: packed frames, and the other columns by name."""


def record(
    task: Task,
    path: Path,
    *,
    episodes: int,
    seed: int,
    workers: int,
    policy: str,
    any_start: bool,
    vary_color: bool,
    advance: Callable[[int], None],
    waiting: Waiting = lambda: None,
) -> None:
    """Record demonstrations of a task into one file; the content depends on the seed, not on the workers.

    Every episode is kept, in order. The file appears under its name only when it is complete.

    Args:
        seed: episode k draws everything from (seed, k).
        policy: that acts, one of the task's demonstrators.
        any_start: take the simulator's own resets instead of the task's selection.
        vary_color: every episode has a color of its own; all but the frames stays the same.
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
        simulated = partial(_demonstrator, task, seed, policy, any_start, vary_color)
        made = _demonstrations(simulated, episodes, workers, waiting)
        with atomic_path(path) as part, closing(made), written_frames(part) as writer:
            lengths: list[int] = []
            columns: dict[str, list[np.ndarray]] = defaultdict(list)
            for number, (frames, recorded) in enumerate(made):
                rows = len(frames.chunks)
                writer.append(frames)
                own = {task.episode_column: np.full(rows, number), "step_idx": np.arange(rows)}
                for name, values in {**recorded, **own}.items():
                    columns[name].append(values)
                lengths.append(rows)
                advance(1)
            for name, parts in columns.items():
                writer.file[name] = np.concatenate(parts)
            writer.file["ep_len"] = np.array(lengths)
            writer.file["ep_offset"] = np.cumsum(lengths) - lengths
            writer.file.attrs.update(
                task=task.name,
                seed=seed,
                policy=task.demonstrators[policy],
                starts="any" if any_start else "task",
                **({"varies": "color"} if vary_color else {}),
                versions=", ".join(f"{name} {version}" for name, version in installed_versions().items()),
            )


def packed(episode: Episode) -> Packed:
    """Pack the frames of an episode."""
    return encode(episode.pixels, USUAL), {"action": episode.action, **episode.columns}


def _demonstrations(
    simulated: Callable[[], Answer], episodes: int, workers: int, waiting: Waiting
) -> Generator[Packed, None, None]:
    try:
        yield from answers(simulated, range(episodes), workers, waiting, how="spawn")
    except WorkerDiedError as death:
        advice = "try again with --workers 1" if workers > 1 else f"`{command('doctor')}` tries what simulators need"
        raise LewmError(f"a simulator process {death}; {advice}") from death


def _demonstrator(task: Task, seed: int, policy: str, any_start: bool, vary_color: bool) -> Answer:
    """Make, in a worker, the function that records an episode by its number, and packs its frames there."""
    assert task.make_simulator is not None, "only a task with a simulator can be recorded"
    torch.set_num_threads(1)  # frames are drawn with torch, in several processes at once
    simulator = task.make_simulator()
    simulator.demonstrate_by(policy)

    def recorded(number: int) -> Packed:
        own = np.random.SeedSequence([seed, number])
        return packed(simulator.demonstrate(own, any_start=any_start, vary_color=vary_color))

    return recorded
