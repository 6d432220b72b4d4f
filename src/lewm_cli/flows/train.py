"""Train a run: find the recording, settle the configuration, take the name, and hand everything to the loop."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import tomli_w
import torch

from lewm_cli.config import ActionStats, Inputs, Layer, Provenance, RunCard, TrainConfig, merge_layers, read_toml
from lewm_cli.data import ClipBatches, Dataset, Frames, HDF5Frames, pack_frames, split_clips
from lewm_cli.errors import LewmError, MissingError, UsageError
from lewm_cli.files import locked, remove_stale_parts, write_text
from lewm_cli.flows.progress import Progress
from lewm_cli.model import LeWM, resolve_device
from lewm_cli.provenance import command_line, installed_versions
from lewm_cli.store import Home, RunFiles, dataset_task, load_run, read_card
from lewm_cli.tasks import TASKS, Task, find_task
from lewm_cli.train import JsonLog, Listener, Trainer, TrainingData, TrainingFinished, task_preset


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


def train(
    home: Home,
    request: TrainRequest,
    listeners: tuple[Listener, ...],
    say: Callable[[str], None],
    progress: Progress,
) -> TrainingFinished:
    """Train to the end.

    Args:
        home: where recordings lie and the run goes.
        request: what to train.
        listeners: told every event of the training.
        say: told what was chosen on the user's behalf.
        progress: shows the packing of frames.

    Raises:
        UsageError: a configuration that cannot mean anything, or a name that is taken.
        LewmError: whatever else stops it; what was saved stays.
        StoppedError: Ctrl-C or SIGTERM; everything is saved.
    """
    device = resolve_device(request.device)
    dataset, task, prefix = _find_recording(home, request, say)
    name = request.name or _pick_name(home, prefix, resume=request.resume, say=say)
    files = RunFiles(home.run_stem(name) if request.resume else home.new_run_stem(name))
    with locked(files.weights, f"another training is writing {name!r}; choose another --name"):
        if request.resume:
            card = _resumed_card(files, request, dataset)
            config = card.provenance.train
        else:
            config = _settle_config(task, request, device, say)
            _make_room(home, files, name, overwrite=request.overwrite)
        split = split_clips(dataset, config.data, config.model.history + 1, config.seed)
        if not request.resume:
            card = _new_card(task, dataset, config, split.held_out_episodes, device, request.init_from)
            write_text(files.config, tomli_w.dumps(config.model_dump(by_alias=True, exclude_none=True)))
        frames = _frames(home, dataset, config, progress)
        data = TrainingData(
            train=ClipBatches(split.train, frames, dataset.actions, card.inputs),
            held_out=ClipBatches(split.held_out, frames, dataset.actions, card.inputs),
            held_out_episodes=len(split.held_out_episodes),
        )
        model = _initial_model(home, card, request.init_from)
        log = JsonLog(files.log)
        trainer = Trainer(name, files, config, card, data, model, device, (log, *listeners))
        return trainer.run(resume=request.resume)


def _find_recording(home: Home, request: TrainRequest, say: Callable[[str], None]) -> tuple[Dataset, Task, str]:
    task = find_task(request.what)
    if task is None:
        if request.dataset:
            raise LewmError(
                f"there is no task {request.what!r} (there is {', '.join(task.name for task in TASKS)}); "
                "name the recording alone: lewm train DATASET"
            )
        try:
            dataset = home.find_dataset(request.what)
        except MissingError as error:
            tasks = ", ".join(task.name for task in TASKS)
            raise LewmError(f"{request.what!r} is no task (there is {tasks}), and {error}") from error
        task = dataset_task(dataset)
        if task.make_simulator is None:
            say(f"no simulator belongs to {dataset.name}: it can be trained on, not evaluated")
            # "robot/pick" trains "robot/lewm"; "robot" too.
            plain = dataset.path.stem if Path(request.what).is_absolute() else request.what
            return dataset, task, plain.rpartition("/")[0] or dataset.path.stem
        return dataset, task, task.name
    if request.dataset:
        return home.find_dataset(request.dataset), task, task.name
    found = home.datasets_of(task)
    if not found:
        raise LewmError(
            f"there is no recording of {task.name} yet; make one with: lewm collect {task.name} --episodes 300"
        )
    if len(found) > 1 and found[0].path.stem != task.released_dataset:
        names = ", ".join(dataset.name for dataset in found)
        raise LewmError(f"there are several recordings of {task.name}: {names}; name one with --dataset")
    say(f"dataset: {found[0].name} ({found[0].path})")
    return found[0], task, task.name


def _pick_name(home: Home, prefix: str, *, resume: bool, say: Callable[[str], None]) -> str:
    if not resume:
        return home.next_run_name(f"{prefix}/lewm")
    stopped = [
        (path.stat().st_mtime, name)
        for name, path in home.run_files()
        if name.startswith(f"{prefix}/lewm") and RunFiles(path.with_suffix("")).resume.exists()
    ]
    if not stopped:
        raise LewmError(f"there is no run of {prefix} to resume; start one with: lewm train {prefix}")
    name = max(stopped)[1]
    say(f"resuming {name}, the newest run of {prefix}")
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


def _make_room(home: Home, files: RunFiles, name: str, *, overwrite: bool) -> None:
    above = home.run_above(name)
    if above:
        raise UsageError(f"{name!r} would need a folder named like the run {above!r}; choose another --name")
    if home.run_is_taken(name):
        if not overwrite:
            raise UsageError(
                f"the run {name!r} exists; --resume goes on with it, --overwrite replaces it, "
                "and without --name the next free name is taken"
            )
        for old in (files.resume, files.log, files.weights, files.state_dict, files.object):
            old.unlink(missing_ok=True)
    for path in (files.weights, files.state_dict, files.object, files.resume):
        remove_stale_parts(path)


def _resumed_card(files: RunFiles, request: TrainRequest, dataset: Dataset) -> RunCard:
    if request.settings or request.config or request.preset or request.init_from or request.overwrite:
        raise UsageError(
            "--resume goes on with the run's own configuration; leave out --preset, --config, --init-from, "
            "--overwrite and every setting"
        )
    if not files.weights.exists():
        raise LewmError(f"there is no run to resume at {files.weights}; start it without --resume")
    card = read_card(files.weights)
    if card.provenance.dataset.fingerprint != dataset.identity.fingerprint:
        raise LewmError(
            f"{dataset.name} is not the recording that this run was trained on "
            f"({card.provenance.dataset.name}); name that one with --dataset"
        )
    return card


def _new_card(
    task: Task,
    dataset: Dataset,
    config: TrainConfig,
    held_out: np.ndarray,
    device: torch.device,
    init_from: str | None,
) -> RunCard:
    inputs = Inputs(task=task.name, frameskip=config.data.frameskip, actions=ActionStats.fit(dataset.actions))
    provenance = Provenance(
        dataset=dataset.identity,
        held_out=tuple(held_out.tolist()),
        train=config,
        step=0,
        init_from=init_from,
        device=str(device),
        versions=installed_versions(),
        command=command_line(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return RunCard(model=config.model, inputs=inputs, provenance=provenance)


def _frames(home: Home, dataset: Dataset, config: TrainConfig, progress: Progress) -> Frames:
    if not config.data.packed:
        return HDF5Frames(dataset.path, config.model.image_size)
    with progress("packing", dataset.rows, "frames") as advance:
        return pack_frames(dataset, config.model.image_size, home.cache, advance)


def _initial_model(home: Home, card: RunCard, init_from: str | None) -> LeWM:
    torch.manual_seed(card.provenance.train.seed)
    model = LeWM(card.model, card.inputs.block_dim)
    if init_from:
        source = load_run(home, init_from)
        if source.card.model != card.model or source.card.inputs.block_dim != card.inputs.block_dim:
            raise LewmError(
                f"{init_from!r} has other sizes than this configuration, so its weights do not fit; "
                f"train with its own: --config {source.files.config}"
            )
        model.load_state_dict(source.model.state_dict(), strict=True)
    return model
