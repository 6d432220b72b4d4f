"""Writes a recording for another tool: decides what it says of itself, and where it goes; overwrites nothing."""

import os
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from lewm_cli.data import Dataset, HDF5Dataset, require_usable
from lewm_cli.data.episodes import NUMBERS
from lewm_cli.data.hdf5_file import texts_attribute
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.exchange.lerobot_features import (
    TASK,
    LastRow,
    Stretch,
    choose_features,
    counting_features,
    find_stretches,
)
from lewm_cli.exchange.lerobot_writer import Exported, LeRobotFormat, LeRobotWriter
from lewm_cli.exchange.video_encoding import VideoCodec, VideoFormat
from lewm_cli.files import atomic_folder, sync
from lewm_cli.flows import Progress, stopped_with
from lewm_cli.plural import counted
from lewm_cli.stop import StopRequest
from lewm_cli.store import Home, Say, dataset_task
from lewm_cli.system_errors import explained
from lewm_cli.tasks import GENERIC

DENOMINATOR = 1001
"""Largest of a rate as a fraction: 30000/1001 is that of television."""


@dataclass(frozen=True)
class ExportRequest:
    """An export as it is asked for.

    Args:
        dataset: name or path of a recording.
        folder: that it goes to; `NAME-lerobot` in the current one if not given.
        camera: name of the frames; that of the source of an imported recording, or `camera`, if not given.
        fps: frames per second; as the recording says, or its simulator, if not given.
        task: text of the only task; those that the recording names, or its name, if not given.
        codec: of videos; None writes PNG images.
        quality: constant rate factor of videos.
        last_row: says what becomes of frames without an action.
    """

    dataset: str
    folder: Path | None
    camera: str | None
    fps: float | None
    task: str | None
    codec: VideoCodec | None
    quality: int
    last_row: LastRow


def export(home: Home, request: ExportRequest, *, workers: int, say: Say, progress: Progress) -> Exported:
    """Write a recording as a LeRobot data set.

    Raises:
        UsageError: the recording has no rate and none is given, or a name cannot be had.
        LewmError: there is no such recording or it is damaged, the folder is there already, or the disk is full.
        StoppedError: Ctrl-C or SIGTERM; nothing is left behind.
    """
    dataset = home.find_dataset(request.dataset, say)
    path = request.folder or Path.cwd() / f"{_plain_name(dataset).replace('/', '-')}-lerobot"
    _refuse_taken(path)
    require_usable(dataset, say)
    task, tasks = dataset_task(dataset), () if request.task else _recorded_tasks(dataset)
    fps = request.fps or dataset.fps or task.fps
    if fps is None:
        raise UsageError(f"{dataset.name} does not say how many frames a second it has; add --fps, like --fps 30")
    rate = Fraction(fps).limit_denominator(DENOMINATOR)
    if request.codec and dataset.frame_size % 2:
        raise UsageError(
            f"the frames of {dataset.name} have {dataset.frame_size} pixels a side, and videos need an even number; "
            "choose --frames png"
        )
    text = request.task or (_plain_name(dataset) if task is GENERIC else task.name)
    video = VideoFormat(request.codec, request.quality, rate) if request.codec else None
    format = LeRobotFormat(_camera(dataset, request.camera), rate, tasks or (text,), video)
    stretches = find_stretches(dataset, request.last_row)
    if not stretches:
        raise LewmError(f"no row of {dataset.name} has an action, and LeRobot needs one for every frame; record them")
    for note in _notes(dataset, stretches):
        say(note)
    names = dataset.imported.action_names if dataset.imported else ()
    chosen, left_out = choose_features(dataset, stretches, names, NUMBERS)
    features = (*chosen, *counting_features(dataset, stretches, rate, tasks=bool(tasks)))
    frames = sum(stretch.frames for stretch in stretches)
    with (
        stopped_with(lambda: "stopped; nothing half-written was left behind"),
        StopRequest() as stop,
        atomic_folder(path, ()) as part,
    ):
        with progress(f"exporting {dataset.name}", frames, "frames") as advance, explained(path):
            psnr = LeRobotWriter(dataset, stretches, features, format, part).write(workers, advance, stop.check)
            for place in part.rglob("*"):
                sync(place)
        stop.check()
    files = [file for file in path.rglob("*") if file.is_file()]
    return Exported(
        dataset=dataset.name,
        path=path,
        episodes=len(stretches),
        frames=frames,
        fps=format.fps,
        tasks=format.tasks,
        features=(format.seen, *(feature.key for feature in features)),
        left_out=tuple(left_out),
        files=len(files),
        bytes=sum(file.stat().st_size for file in files),
        psnr=psnr,
    )


def _plain_name(dataset: Dataset) -> str:
    return dataset.path.stem if dataset.name == str(dataset.path) else dataset.name


def _refuse_taken(path: Path) -> None:
    with explained(path):
        if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
            raise LewmError(f"{path} is there already, and nothing is overwritten; choose another place with --output")


def _recorded_tasks(dataset: Dataset) -> tuple[str, ...]:
    """Texts of the tasks that the rows of a recording number; empty if it has none."""
    if not isinstance(dataset, HDF5Dataset) or TASK not in (column.name for column in dataset.columns):
        return ()
    with dataset.opened() as file:
        texts = texts_attribute(file, "tasks")
    numbers = dataset.read(TASK, slice(None))
    counts = numbers.dtype.kind in "iu" and numbers.ndim == 1 and 0 <= numbers.min() <= numbers.max() < len(texts)
    return texts if counts else ()


def _camera(dataset: Dataset, asked: str | None) -> str:
    name = asked or (dataset.imported.camera if dataset.imported else "camera")
    if not asked:  # as it is called in the file that it came from
        name = re.sub(r"[^\w.-]", "_", name.removeprefix("observation.images.").rpartition("/")[2]) or "camera"
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UsageError(f"--camera {name!r} cannot name a folder and a feature; take letters and numbers, like front")
    return name


def _notes(dataset: Dataset, stretches: list[Stretch]) -> list[str]:
    """Lines about frames that are not written as they were recorded."""
    notes = []
    repeated = sum(stretch.frames - stretch.actions for stretch in stretches)
    if repeated:
        notes.append(
            f"note: at {counted(repeated, 'frame')} no action was taken, and the one before stands there; "
            "--last-row drop leaves them out"
        )
    left = dataset.rows - sum(stretch.frames for stretch in stretches)
    if left:
        notes.append(f"note: {counted(left, 'frame')} without an action left out")
    empty = dataset.episodes - len({int((dataset.offsets <= stretch.first).sum()) for stretch in stretches})
    if empty:
        notes.append(f"note: {counted(empty, 'episode')} without any action left out")
    if split := len(stretches) - (dataset.episodes - empty):
        notes.append(f"note: rows without an action split episodes, so that there are {split:,} more")
    return notes
