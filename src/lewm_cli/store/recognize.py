"""Recognizes the task of a recording, or of a run by its name."""

from math import prod

from lewm_cli.data import Dataset
from lewm_cli.store.names import split_step
from lewm_cli.tasks import GENERIC, TASKS, Task, find_task


def dataset_task(dataset: Dataset) -> Task:
    """The task of a recording: as the file says, else by a released file's name, else by its columns, else generic."""
    if dataset.task is not None:
        return find_task(dataset.task) or GENERIC
    named = (task for task in TASKS if task.released_dataset == dataset.path.stem)
    widths = {(column.name, prod(column.shape)) for column in dataset.columns}
    recognized = (task for task in TASKS if task.recognized_by and widths.issuperset(task.recognized_by))
    return [*named, *recognized, GENERIC][0]


def named_task(name: str) -> Task | None:
    """The task that a run name speaks of: `tworoom/lejepa`, or `quentinll/lewm-tworooms` as the Hub has it."""
    parts = split_step(name)[0].split("/")
    found = (find_task(part) or find_task(part.removeprefix("lewm-")) for part in parts)
    return next((task for task in found if task not in (None, GENERIC)), None)
