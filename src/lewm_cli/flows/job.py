"""What is trained on what, under which name: settled before anything is written."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

import torch

from lewm_cli.config import Layer, RunCard, TrainConfig, merge_layers, read_toml
from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.store import Home, RunFiles, dataset_task, list_runs, read_card
from lewm_cli.store.names import split_step
from lewm_cli.tasks import GENERIC, TASKS, Task, find_task
from lewm_cli.train import task_preset


@dataclass(frozen=True)
class TrainRequest:
    """What to train.

    Args:
        what: a task, or a dataset by name or path.
        preset: preset name; `release` on CUDA, else `small`, if not given.
        dataset: which recording of the task.
        config: a TOML file laid over the preset.
        settings: single settings laid over both, later ones win.
        name: run name; the next free `<task>/lewm` if not given.
        device: auto, cpu, cuda or mps.
        init_from: a run whose weights are the start.
        resume: go on with a run that stopped.
        overwrite: replace a run of the same name.
    """

    what: str
    preset: str | None = None
    dataset: str | None = None
    config: Path | None = None
    settings: tuple[Layer, ...] = ()
    name: str | None = None
    device: str = "auto"
    init_from: str | None = None
    resume: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Job:
    """What is trained on what, under which name; `card` is there when a run is resumed."""

    name: str
    files: RunFiles
    task: Task
    dataset: Dataset
    config: TrainConfig
    card: RunCard | None = None


def new_job(home: Home, request: TrainRequest, device: torch.device, say: Callable[[str], None]) -> Job:
    """Find the recording, settle the configuration, choose a name.

    Raises:
        UsageError: a configuration that cannot mean anything.
        LewmError: no recording, or several.
    """
    task = find_task(request.what)
    if task is not None:
        config = _settle_config(task, request, device, say)
        dataset = home.find_dataset(request.dataset) if request.dataset else _only_recording(home, task)
        say(f"dataset: {dataset.name} ({dataset.path})")
    else:
        dataset = _named_recording(home, request)
        task = dataset_task(dataset)
        if task.make_simulator is None:
            say(f"no simulator belongs to {dataset.name}: it can be trained on, not evaluated")
        config = _settle_config(task, request, device, say)
    if request.name and split_step(request.name)[1] is not None:
        raise UsageError(f"{request.name!r} would mean a state of a run; choose a --name without @ and a number")
    name = request.name or home.next_run_name(f"{_prefix(request.what)}/lewm")
    return Job(name, RunFiles(home.new_run_stem(name)), task, dataset, config)


def resumed_job(home: Home, request: TrainRequest, say: Callable[[str], None]) -> Job:
    """Find the run that stopped, and the recording it was trained on.

    Raises:
        UsageError: settings are given too.
        LewmError: no such run, or its recording has changed.
    """
    if request.settings or request.config or request.preset or request.init_from or request.overwrite:
        raise UsageError(
            "--resume goes on with the run's own configuration; leave out --preset, --config, --init-from, "
            "--overwrite and every setting"
        )
    name = request.name or _newest_stopped(home, request.what, say)
    files = RunFiles(home.run_stem(name))
    if any(run.name == name and not run.own for run in home.runs()):
        raise _trained_elsewhere(name, request.what)
    if not files.weights.exists():
        raise LewmError(f"there is no run to resume at {files.weights}: nothing was saved; start it without --resume")
    card = read_card(files.weights)
    if card.provenance is None:
        raise _trained_elsewhere(name, request.what)
    trained_on = card.provenance.dataset
    dataset = home.find_dataset(request.dataset or trained_on.name)
    if trained_on.fingerprint != dataset.identity.fingerprint:
        raise LewmError(
            f"{dataset.name} is not the recording that {name} was trained on ({trained_on.name}, "
            f"{trained_on.episodes} episodes); name that one with --dataset"
        )
    return Job(name, files, find_task(card.inputs.task) or GENERIC, dataset, card.provenance.train, card)


def _trained_elsewhere(name: str, what: str) -> LewmError:
    return LewmError(
        f"{name} was trained by another tool, which left nothing to resume; "
        f"start a run from its weights: lewm train {what} --init-from {name}"
    )


def _named_recording(home: Home, request: TrainRequest) -> Dataset:
    tasks = ", ".join(task.name for task in TASKS)
    if request.dataset:
        raise LewmError(
            f"there is no task {request.what!r} (there is {tasks}); name the recording alone: "
            f"lewm train {request.dataset}"
        )
    try:
        return home.find_dataset(request.what)
    except MissingError as error:
        raise LewmError(f"{request.what!r} is no task (there is {tasks}), and {error}") from error


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
    """Where runs go: `tworoom` for the task and its aliases, `robot` for the recordings robot, robot/pick, robot.h5."""
    task = find_task(what)
    if task is not None:
        return task.name
    path = PurePath(what)
    return path.parts[0] if len(path.parts) > 1 and not path.suffix else path.stem


def _newest_stopped(home: Home, what: str, say: Callable[[str], None]) -> str:
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


def _settle_config(task: Task, request: TrainRequest, device: torch.device, say: Callable[[str], None]) -> TrainConfig:
    preset = request.preset
    if preset is None:
        preset = "release" if device.type == "cuda" else "small"
        say(f"preset: {preset} (the default on {device.type}; --preset chooses another)")
    layers = [task_preset(task, preset).layer]
    if request.config:
        layers.append(read_toml(request.config))
    merged = merge_layers([*layers, *request.settings])
    return TrainConfig.build(merged.tree, merged.source)
