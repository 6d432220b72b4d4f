"""The plan of a training run: task, recording, configuration and name, found before anything is written."""

from dataclasses import dataclass
from pathlib import Path, PurePath

import torch

from lewm_cli.config import Layer, merge_layers, read_toml
from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.methods import RunCard, TrainConfig
from lewm_cli.store import Home, RunFiles, Say, dataset_task, list_runs, read_card, split_step
from lewm_cli.tasks import GENERIC, TASKS, Task, find_task
from lewm_cli.train import task_preset


@dataclass(frozen=True)
class Job:
    """A training run to do; `card` is that of a run that is resumed, None for a new one."""

    name: str
    files: RunFiles
    task: Task
    dataset: Dataset
    config: TrainConfig
    card: RunCard | None = None


def new_job(
    home: Home,
    what: str,
    device: torch.device,
    say: Say,
    *,
    preset: str | None,
    dataset: str | None,
    config: Path | None,
    settings: tuple[Layer, ...],
    name: str | None,
) -> Job:
    """Find the recording, merge the configuration, choose a name; arguments and errors are those of `train`."""
    task = find_task(what)
    if task is not None:
        merged = _merged_config(task, device, say, preset, config, settings)
        recording = home.find_dataset(dataset) if dataset else _only_recording(home, task)
        say(f"dataset: {recording.name} ({recording.path})")
    else:
        recording = _named_recording(home, what, dataset)
        task = dataset_task(recording)
        if task.make_simulator is None:
            say(f"no simulator belongs to {recording.name}: it can be trained on, not evaluated")
        merged = _merged_config(task, device, say, preset, config, settings)
    if name and split_step(name)[1] is not None:
        raise UsageError(f"{name!r} would mean a state of a run; choose a --name without @ and a number")
    name = name or home.next_name(f"{_prefix(what)}/{merged.method}", "run")
    return Job(name, RunFiles(home.new_run_stem(name)), task, recording, merged)


def resumed_job(home: Home, what: str, say: Say, *, dataset: str | None, name: str | None) -> Job:
    """Find the run that stopped, and the recording it was trained on; arguments and errors are those of `train`."""
    name = name or _newest_stopped(home, what, say)
    files = RunFiles(home.run_stem(name))
    external = any(run.name == name and not run.own for run in home.runs())
    if not external and not files.weights.exists():
        raise LewmError(f"there is no run to resume at {files.weights}: nothing was saved; start it without --resume")
    card = None if external else read_card(files.weights)
    if card is None or card.provenance is None:
        raise LewmError(
            f"{name} was trained by another tool, which left nothing to resume; "
            f"start a run from its weights: lewm train {what} --init-from {name}"
        )
    trained_on = card.provenance.dataset
    recording = home.find_dataset(dataset or trained_on.name)
    if trained_on.fingerprint != recording.identity.fingerprint:
        raise LewmError(
            f"{recording.name} is not the recording that {name} was trained on ({trained_on.name}, "
            f"{trained_on.episodes} episodes); name that one with --dataset"
        )
    return Job(name, files, find_task(card.inputs.task) or GENERIC, recording, card.provenance.train, card)


def _named_recording(home: Home, what: str, dataset: str | None) -> Dataset:
    tasks = ", ".join(task.name for task in TASKS)
    if dataset:
        raise LewmError(f"there is no task {what!r} (there is {tasks}); name the recording alone: lewm train {dataset}")
    try:
        return home.find_dataset(what)
    except MissingError as error:
        raise LewmError(f"{what!r} is no task (there is {tasks}), and {error}") from error


def _only_recording(home: Home, task: Task) -> Dataset:
    found = home.datasets_of(task)
    if not found:
        raise LewmError(
            f"there is no recording of {task.name} yet; make one with: lewm collect {task.name} --episodes 300"
        )
    if len(found) > 1 and found[0].path.stem != task.released_dataset:
        names = ", ".join(dataset.name for dataset in found)
        raise LewmError(f"there are several recordings of {task.name}: {names}; name one with --dataset")
    return found[0]


def _prefix(what: str) -> str:
    """The folder of new runs: `tworoom` for the task and its aliases, `robot` for robot, robot/pick and robot.h5."""
    task = find_task(what)
    if task is not None:
        return task.name
    path = PurePath(what)
    return path.parts[0] if len(path.parts) > 1 and not path.suffix else path.stem


def _newest_stopped(home: Home, what: str, say: Say) -> str:
    task = find_task(what)
    stopped = [
        run
        for run in list_runs(home)
        if run.card  # else damaged, or of another tool: not what stopped here
        and (run.card.inputs.task == task.name if task else run.name.startswith(f"{_prefix(what)}/"))
        and RunFiles(run.path.with_suffix("")).stopped
    ]
    if not stopped:
        raise LewmError(f"no run of {what} has stopped before its end; start one with: lewm train {what}")
    name = max(stopped, key=lambda run: run.modified).name
    say(f"resuming {name}, the newest run of {what} that stopped")
    return name


def _merged_config(
    task: Task,
    device: torch.device,
    say: Say,
    preset: str | None,
    file: Path | None,
    settings: tuple[Layer, ...],
) -> TrainConfig:
    if preset is None:
        preset = "release" if device.type == "cuda" else "small"
        say(f"preset: {preset} (the default on {device.type}; --preset chooses another)")
    above = merge_layers([*([read_toml(file)] if file else ()), *settings])
    merged = merge_layers([task_preset(task, preset).layer_under(above), above])
    return TrainConfig.build(merged.tree, merged.source)
