"""Train a run: find what it needs, take its name once nothing can be wrong with it any more, and start the loop."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import tomli_w
import torch

from lewm_cli.config import (
    ActionStats,
    Inputs,
    Layer,
    PatchNetworkConfig,
    ProprioConfig,
    ProprioStats,
    constant_dimensions,
    merge_layers,
    read_toml,
)
from lewm_cli.data import (
    ClipBatches,
    ClipIndex,
    Dataset,
    DecodedFrames,
    Frames,
    MemoryFrames,
    Split,
    belongs_in_memory,
    require_proprio,
    require_usable,
    split_clips,
    used_actions,
    used_rows,
)
from lewm_cli.errors import LewmError, TakenError, UsageError
from lewm_cli.files import locked, remove_stale_parts, try_writing, write_text
from lewm_cli.flows import Progress
from lewm_cli.flows.encoder import find_encoder, parents_encoder
from lewm_cli.flows.pack import packing_advice
from lewm_cli.flows.training_dashboards import dashboards, keep_log_settings
from lewm_cli.flows.training_request import (
    DEFAULT_PRESETS,
    check_resumption,
    named_encoder,
    named_recording,
    read_request,
    run_folder,
    stopped_run,
    task_recording,
)
from lewm_cli.methods import Provenance, RunCard, TrainConfig
from lewm_cli.model import FrozenEncoder, resolve_device
from lewm_cli.plural import counted
from lewm_cli.provenance import command_line, installed_versions
from lewm_cli.store import Home, Run, RunFiles, Say, StoredEncoder, dataset_task, load_run, names_state
from lewm_cli.suggestion import command, few
from lewm_cli.tasks import GENERIC, Task, find_task
from lewm_cli.train import JsonLog, Listener, Trainer, TrainingData, TrainingFinished, largest_batch


@dataclass(frozen=True)
class Job:
    """A training run to do.

    Args:
        name: without one that was chosen, the first of those that are tried until one is free.
        card: of a run that is resumed; None for a new one.
        encoder: whose weights a new network gets; None for one that trains its own, or starts from those of a run.
    """

    name: str
    files: RunFiles
    task: Task
    dataset: Dataset
    config: TrainConfig
    card: RunCard | None = None
    encoder: StoredEncoder | None = None


def train(
    home: Home,
    what: str,
    *,
    listeners: tuple[Listener, ...],
    say: Say,
    progress: Progress,
    preset: str | None = None,
    dataset: str | None = None,
    config: Path | None = None,
    settings: tuple[Layer, ...] = (),
    name: str | None = None,
    device: str = "auto",
    encoder: str | None = None,
    init_from: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> TrainingFinished:
    """Train to the end.

    Args:
        what: a task, or a dataset by name or path.
        preset: `release` on CUDA, else `small`, if not given.
        dataset: which recording of the task.
        config: a TOML file laid over the preset, under the settings.
        name: the next free `<task>/<method>` if not given.
        encoder: a run, a folder or a model on the Hub, for a method that looks through a frozen one.
        init_from: a run whose weights are the start.

    Raises:
        UsageError: a configuration that cannot mean anything, or settings for a run that is resumed.
        LewmError: whatever else stops it; what was saved stays.
        StoppedError: Ctrl-C or SIGTERM; everything is saved.
    """
    there = resolve_device(device)
    if resume:
        more = bool(config or preset or encoder or init_from or overwrite)
        check_resumption(home, what, name=name, settings=settings, more=more)
        job = _resumed_job(home, what, say, dataset=dataset, settings=settings, name=name)
    else:
        job = new_job(
            home,
            what,
            there,
            say,
            preset=preset,
            dataset=dataset,
            config=config,
            settings=settings,
            name=name,
            encoder=encoder,
            init_from=init_from,
        )
    taken_proprio(job)
    require_usable(job.dataset, say)
    if job.card is None:
        require_what_is_learned_from(job)
    split = split_clips(job.dataset, job.config.data, job.config.model.history + 1, job.config.seed)
    validation = None
    if job.config.eval.every:
        from lewm_cli.flows.validation import ValidationPairs  # late: what plans and simulates takes long to import

        validation = ValidationPairs.find(job.task, job.dataset, job.config, split.held_out_episodes, say)
    with _claimed(home, job, chosen=name is not None, overwrite=overwrite) as job:
        try_writing(job.files.weights)
        best = job.files.best
        for path in (best.weights, job.files.weights, job.files.state_dict, job.files.object, job.files.resume):
            remove_stale_parts(path)  # of a training that was killed
        short = int((job.dataset.lengths < split.train.span).sum())
        if short:
            say(f"left out: {short} of {job.dataset.episodes} episodes, shorter than a clip ({split.train.span} rows)")
        parent = load_run(home, init_from, say=say) if init_from else None
        card = _resumed_card(job.card, there) if job.card else new_card(job, split, there, parent)
        if parent and parent.method != job.config.method:
            say(f"{parent.name} was trained with {parent.method}; its weights go on with {job.config.method}")
        if (parent or job.encoder) and (seen := _seen_before(card, job.dataset)):
            say(
                f"note: {seen} of {counted(len(split.held_out_episodes), 'held-out episode')} had been trained on in "
                "the run that the encoder or the start is from, so what is measured on them may be too good"
            )
        rows, size = len(job.dataset.actions), job.config.model.image_size
        frames: Frames = DecodedFrames(job.dataset, size)
        if belongs_in_memory(job.dataset, size, job.config.data.in_memory):
            with progress("reading", rows, "frames") as advance:
                frames = MemoryFrames.of(frames, rows, advance)
        elif advice := packing_advice(job.dataset, there.type):
            say(advice)
        if job.config.optimizer.batch_size == "auto":  # after the frames, which take memory too
            job, card = with_batch_size(job, card, there, len(split.train), say)
        torch.manual_seed(job.config.seed)
        model = card.new_model()
        if parent:
            model.load_state_dict(parent.model.state_dict(), strict=True)
        if job.encoder:
            assert isinstance(model.encoder, FrozenEncoder)
            model.encoder.backbone.load_state_dict(job.encoder.state, strict=True)
        pinned = there.type == "cuda"
        data = TrainingData(
            train=clip_batches(job, split.train, frames, card.inputs, pinned=pinned),
            held_out=clip_batches(job, split.held_out, frames, card.inputs, pinned=pinned),
            held_out_episodes=len(split.held_out_episodes),
        )
        shown = dashboards(job.name, job.files, job.task, job.dataset, job.config, say)
        listeners = (JsonLog(job.files.log), *listeners, *shown)
        evaluator = validation.evaluator(job.name, job.files, frames) if validation else None
        trainer = Trainer(job.name, job.files, job.config, card, data, model, there, listeners, evaluator)
        if not resume:
            # Only now: whatever can be wrong with the request has been found, and the old run is still there.
            if best.folder.exists():
                shutil.rmtree(best.folder)
            if job.files.weights.exists() and job.files.results.exists():
                shutil.rmtree(job.files.results)  # measured on weights that are going
            derived = (path for files in (best, job.files) for path in (files.weights, files.state_dict, files.object))
            for path in (*derived, job.files.resume, job.files.log):
                path.unlink(missing_ok=True)
            write_text(job.files.config, tomli_w.dumps(job.config.model_dump(by_alias=True, exclude_none=True)))
        keep_log_settings(job.files, job.config.log)
        return trainer.run(resume=resume)


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
    encoder: str | None,
    init_from: str | None,
    download: bool = True,
) -> Job:
    """Find the recording and the encoder, merge the configuration, choose a name.

    Arguments and errors are those of `train`, and `download` is that of `find_encoder`.
    """
    task, recording = find_task(what), None
    if task is None:
        recording = named_recording(home, what, dataset, say)
        task = dataset_task(recording)
        if task.make_simulator is None:
            say(f"no simulator belongs to {recording.name}: it can be trained on, not evaluated")
    if preset is None:
        preset = DEFAULT_PRESETS["cuda" if device.type == "cuda" else "cpu"]
        say(f"preset: {preset} (the default on {device.type}; --preset chooses another)")
    request = read_request(task, preset, config, settings, say)
    found = sizes = None
    if named := named_encoder(home, what, request, encoder, init_from):
        found = find_encoder(home, named, say, download=download)
        sizes = found.config
        say(f"encoder: {sizes.source}, frozen ({sizes.depth} x {sizes.width}, sha256 {sizes.sha256[:16]}...)")
    elif init_from and request.takes_encoder:
        sizes = parents_encoder(home, init_from, what, request.method)
    merged = request.config(sizes, found.image_size if found else None)
    if recording is None:
        recording = task_recording(home, task, dataset, say)
        say(f"dataset: {recording.name} ({recording.path})")
    if name and names_state(name):
        raise UsageError(f"{name!r} would mean a state of a run; choose a --name without {name[name.rindex('@') :]}")
    name = name or f"{run_folder(what)}/{merged.method}"
    return Job(name, RunFiles(home.new_run_stem(name)), task, recording, _sized(merged, recording), encoder=found)


@contextmanager
def _claimed(home: Home, job: Job, *, chosen: bool, overwrite: bool) -> Iterator[Job]:
    """Hold the lock of the run's name; of a name that nobody chose, the first that no other job takes.

    Raises LewmError if the name cannot be had.
    """
    chosen = chosen or job.card is not None
    for name in [job.name] if chosen else home.free_names(job.name, "run"):
        files = job.files if chosen else RunFiles(home.new_run_stem(name))
        with ExitStack() as held:
            try:
                busy = f"another training is writing {name!r}; choose another --name"
                held.enter_context(locked(files.weights, busy))
                if job.card is None:
                    refuse_taken(home, name, overwrite=overwrite)
            except TakenError:
                if chosen:
                    raise
                continue  # by another job that began at the same time
            yield replace(job, name=name, files=files)
            return


def _resumed_job(
    home: Home, what: str, say: Say, *, dataset: str | None, settings: tuple[Layer, ...], name: str | None
) -> Job:
    """Find the run that stopped, and the recording it was trained on; arguments and errors are those of `train`."""
    name, card = stopped_run(home, what, name, say)
    assert card.provenance is not None
    trained_on = card.provenance.dataset
    recording = home.find_dataset(dataset or trained_on.name, say)
    if trained_on.fingerprint != recording.identity.fingerprint:
        raise LewmError(
            f"{recording.name} is not the recording that {name} was trained on ({trained_on.name}, "
            f"{trained_on.episodes} episodes); name that one with --dataset"
        )
    own = Layer(f"the configuration of {name}", card.provenance.train.model_dump(by_alias=True, exclude_none=True))
    files = RunFiles(home.run_stem(name))
    logged = [read_toml(files.logging)] if files.logging.exists() else []
    merged = merge_layers([own, *logged, *settings])
    config = TrainConfig.build(merged.tree, merged.source)
    config.log.check_installed()
    return Job(name, files, find_task(card.inputs.task) or GENERIC, recording, config, card)


def refuse_taken(home: Home, name: str, *, overwrite: bool) -> None:
    """Raises TakenError or UsageError if no new run may have this name."""
    above = home.run_above(name)
    if above:
        raise LewmError(f"{name!r} would need a folder named like the run {above!r}; choose another --name")
    if home.run_is_taken(name) and not overwrite:
        raise TakenError(
            f"the run {name!r} exists; --resume goes on with it, --overwrite replaces it, "
            "and without --name the next free name is taken"
        )


def taken_proprio(job: Job) -> np.ndarray | None:
    """The recorded proprioception (N, P) of a network that takes it; None for another.

    Raises:
        LewmError: it is not recorded.
    """
    sizes, method = job.config.model, job.config.method
    if not isinstance(sizes, ProprioConfig):
        return None
    without = type(job.config.objective).without_proprio
    what = job.dataset.name if job.task is GENERIC else job.task.name
    other = command("train", what, "--method", without) if without else command("methods")
    instead = f"name another recording, or train with a method that takes none: {other}"
    taker = f"the method {method}" + (f" with model.proprio = {sizes.proprio}" if sizes.proprio else "")
    return require_proprio(job.dataset, sizes.proprio, taker, instead)


def clip_batches(job: Job, index: ClipIndex, frames: Frames, inputs: Inputs, *, pinned: bool = False) -> ClipBatches:
    """Clips of the recording of a job as its network takes them."""
    return ClipBatches(index, frames, job.dataset.actions, inputs, proprio=taken_proprio(job), pinned=pinned)


def new_card(job: Job, split: Split, device: torch.device, parent: Run | None) -> RunCard:
    """The card of a run that begins; raises LewmError if the weights of its parent do not fit it."""
    config, dataset = job.config, job.dataset
    frameskip, proprio = config.data.frameskip, taken_proprio(job)
    # Statistics travel with the weights: what starts from a run's weights keeps what they were trained with.
    inputs = (
        parent.card.inputs.model_copy(update={"task": job.task.name, "frameskip": frameskip})
        if parent
        else Inputs(
            task=job.task.name,
            frameskip=frameskip,
            actions=ActionStats.fit(used_actions(dataset)),
            proprio=None if proprio is None else ProprioStats.fit(used_rows(dataset, proprio)),
        )
    )
    if parent and proprio is not None and inputs.proprio and inputs.proprio.dim != proprio.shape[1]:
        raise LewmError(
            f"{parent.name!r} was trained with {counted(inputs.proprio.dim, 'number')} of proprioception, and "
            f"{dataset.name} has {proprio.shape[1]}; its weights do not fit this recording"
        )
    if parent:
        _require_same_network(parent, config)
    if parent and (parent.card.model != config.model or parent.card.inputs.frameskip != frameskip):
        raise LewmError(
            f"{parent.name!r} has other sizes than this configuration, so its weights do not fit; " + _its_sizes(parent)
        )
    if parent and inputs.actions.dim != dataset.actions.shape[1]:
        raise LewmError(
            f"{parent.name!r} was trained with {inputs.actions.dim} action dimensions, and {dataset.name} has "
            f"{dataset.actions.shape[1]}; its weights do not fit this recording"
        )
    held_out = set(split.held_out_episodes.tolist())
    trained_on = {digest for number, digest in enumerate(dataset.episode_digests) if number not in held_out}
    if parent:
        trained_on |= parent.card.trained_on
    if job.encoder:
        trained_on |= job.encoder.trained_on
    provenance = Provenance(
        dataset=dataset.identity,
        held_out=tuple(sorted(held_out)),
        trained_on=tuple(sorted(trained_on)),
        train=config,
        step=0,
        init_from=parent.name if parent else None,
        device=str(device),
        versions=installed_versions(),
        command=command_line(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return RunCard(method=config.method, model=config.model, inputs=inputs, provenance=provenance)


def with_batch_size(
    job: Job, card: RunCard, device: torch.device, clips: int, say: Say, frames: int = 0
) -> tuple[Job, RunCard]:
    """Settle the largest batch size that fits, once and for all, beside bytes of frames that are not read yet."""
    parts = job.config.optimizer.accumulate
    at_once = largest_batch(job.config, card.inputs, device, max(2, clips // parts), frames)
    size = parts * at_once
    taken = f"{parts} parts of {at_once}, " if parts > 1 else ""
    why = f"the largest power of two that the memory of {device} and {clips:,} clips allow"
    say(f"batch size: {size} ({taken}{why}; --batch-size chooses another)")
    optimizer = job.config.optimizer.model_copy(update={"batch_size": size})
    config = job.config.model_copy(update={"optimizer": optimizer})
    assert card.provenance is not None
    provenance = card.provenance.model_copy(update={"train": config})
    return replace(job, config=config), card.model_copy(update={"provenance": provenance})


def require_what_is_learned_from(job: Job) -> None:
    """Raises LewmError if the loss has terms that are learned from actions, and they never change."""
    terms, actions = job.config.objective.action_terms, used_actions(job.dataset)
    known = actions[~np.isnan(actions).any(axis=1)].astype(np.float64)
    if terms and constant_dimensions(known).all():
        raise LewmError(
            f"the actions of {job.dataset.name} never change, and {job.config.method} learns from them ({few(terms)}); "
            f"record others, or choose another objective: {command('methods')}"
        )


def _sized(config: TrainConfig, dataset: Dataset) -> TrainConfig:
    """The configuration, its network for as many numbers of proprioception as are recorded, where that is not said."""
    sizes = config.model
    if not isinstance(sizes, ProprioConfig) or sizes.proprio or dataset.proprio is None:
        return config
    sizes = sizes.model_copy(update={"proprio": dataset.proprio.shape[1]})
    return config.model_copy(update={"model": sizes})


def _require_same_network(parent: Run, config: TrainConfig) -> None:
    """Raise LewmError if a run is of another kind of network than the one to train, whatever their sizes are."""
    with torch.device("meta"):
        network = type(config.objective).network(config.model, parent.card.inputs.block_dim)
    if (type(network), type(config.model)) == (type(parent.model), type(parent.card.model)):
        return
    own = f"train with --method {parent.method}, or without --init-from"
    if isinstance(config.model, PatchNetworkConfig):
        own = f"take its encoder alone: leave out --init-from, and add --encoder {parent.name}"
    raise LewmError(
        f"{parent.name} has another network ({parent.method}), whose weights do not fit {config.method}; {own}"
    )


def _its_sizes(parent: Run) -> str:
    """Advises to train with the sizes of a run: with its own configuration, if it left one."""
    if parent.files.config.exists():
        return f"train with its own: --config {parent.files.config}"
    model, inputs = parent.card.model, parent.card.inputs
    latent = "" if model.latent_dim is None else f"model.latent={model.latent_dim}, "
    return (
        f"set {latent}model.image_size={model.image_size}, data.frameskip={inputs.frameskip} and "
        f"the others that `{command('show', parent.name, '--json')}` has"
    )


def _seen_before(card: RunCard, dataset: Dataset) -> int:
    """The number of held-out episodes that have been trained on nevertheless, in an earlier run."""
    assert card.provenance is not None
    trained_on = set(card.provenance.trained_on)
    return sum(dataset.episode_digests[number] in trained_on for number in card.provenance.held_out)


def _resumed_card(card: RunCard, device: torch.device) -> RunCard:
    """The card of a resumed run, which adds this device, these versions and this command."""
    assert card.provenance is not None
    command = f"{card.provenance.command} && {command_line()}"
    here = {"device": str(device), "versions": installed_versions(), "command": command}
    return card.model_copy(update={"provenance": card.provenance.model_copy(update=here)})
