"""Finds and checks without torch what a training is asked for: its recording and its configuration."""

from collections.abc import Sequence
from pathlib import Path

from lewm_cli.config import Layer, merge_layers, read_toml
from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.methods import TrainConfig
from lewm_cli.store import Home, Say, dataset_task, silent
from lewm_cli.suggestion import command, few
from lewm_cli.tasks import TASKS, Task, find_task
from lewm_cli.train import task_preset

DEFAULT_PRESETS = {"cpu": "small", "cuda": "release"}
"""The presets by the kind of device, where none is named."""


def configure(task: Task, preset: str, config: Path | None, settings: Sequence[Layer]) -> TrainConfig:
    """Lay a TOML file, and settings over it, over a preset of the task.

    Raises:
        UsageError: what comes out cannot mean anything.
        LewmError: there is no such preset or file, or it is no TOML.
    """
    above = merge_layers([*([read_toml(config)] if config else ()), *settings])
    layers = merge_layers([task_preset(task, preset).layer_under(above), above])
    return TrainConfig.build(layers.tree, layers.source)


def named_recording(home: Home, what: str, dataset: str | None, say: Say = silent) -> Dataset:
    """Find the recording that stands in the place of a task; raises LewmError if it is neither."""
    tasks = ", ".join(task.name for task in TASKS)
    if dataset:
        raise LewmError(
            f"there is no task {what!r} (there is {tasks}); name the recording alone: {command('train', dataset)}"
        )
    try:
        return home.find_dataset(what, say)
    except MissingError as error:
        raise LewmError(f"{what!r} is no task (there is {tasks}), and {error}") from error


def task_recording(home: Home, task: Task, dataset: str | None, say: Say = silent) -> Dataset:
    """Find a recording of a task: the named one, else the released or only one; raises LewmError if there is none."""
    if dataset:
        return home.find_dataset(dataset, say)
    found = home.datasets_of(task)
    if not found:
        raise LewmError(
            f"there is no recording of {task.name} yet; make one with: "
            + command("collect", task.name, "--episodes", 300)
        )
    if len(found) > 1 and found[0].path.stem != task.released_dataset:
        names = few((dataset.name for dataset in found), command("ls"))
        raise LewmError(f"there are several recordings of {task.name}: {names}; name one with --dataset")
    return found[0]


def check_request(
    home: Home, what: str, *, dataset: str | None, preset: str | None, config: Path | None, settings: Sequence[Layer]
) -> None:
    """Raise the error that a new training would end with, if it has one whatever the device; arguments as above."""
    task = find_task(what)
    known = task or dataset_task(named_recording(home, what, dataset))
    wrong: list[UsageError] = []
    presets = [preset] if preset else list(DEFAULT_PRESETS.values())
    for name in presets:
        try:
            configure(known, name, config, settings)
        except UsageError as error:
            wrong.append(error)
    if len(wrong) == len(presets):
        raise wrong[0]
    if task:
        task_recording(home, task, dataset)
