"""A training run to do: the recording, the configuration and the card of a new run, or of one that is resumed."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import torch

from lewm_cli.config import (
    ActionStats,
    FrozenEncoderConfig,
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
    Frames,
    RecordedFacts,
    Split,
    require_proprio,
    require_usable,
    used_actions,
    used_rows,
)
from lewm_cli.errors import LewmError, TakenError, UsageError
from lewm_cli.flows.encoder import find_encoder, parents_encoder
from lewm_cli.flows.training_request import (
    DEFAULT_PRESETS,
    TrainingRequest,
    named_encoder,
    named_recording,
    read_settings,
    run_folder,
    stopped_run,
    task_recording,
)
from lewm_cli.methods import Provenance, RunCard, TrainConfig
from lewm_cli.model import FrozenEncoder
from lewm_cli.plural import counted
from lewm_cli.provenance import command_line, installed_versions
from lewm_cli.store import Home, Run, RunFiles, Say, StoredEncoder, dataset_task, load_weights, names_state, read_card
from lewm_cli.suggestion import command, few
from lewm_cli.tasks import GENERIC, Task, find_task
from lewm_cli.train import ChosenSettings, choose_settings, largest_batch, parents_settings


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


def new_job(home: Home, request: TrainingRequest, device: torch.device, say: Say, *, download: bool = True) -> Job:
    """Find the recording and the encoder, merge the configuration, choose a name.

    `download` is that of `find_encoder`.

    Raises:
        UsageError: a configuration that cannot mean anything, or the name of a state of a run.
        LewmError: something is not there, or does not fit.
    """
    task, recording = find_task(request.what), None
    if task is None:
        recording = named_recording(home, request, say)
        task = dataset_task(recording)
        if task.make_simulator is None:
            say(f"no simulator belongs to {recording.name}: runs of it are evaluated on recorded episodes alone")
    preset, chosen = request.preset, None
    if preset is None and recording and task.make_simulator is None:
        chosen = _chosen(home, request, recording, device)
        preset = chosen.preset
    elif preset is None:
        preset = DEFAULT_PRESETS["cuda" if device.type == "cuda" else "cpu"]
        say(f"preset: {preset} (the default on {device.type}; --preset chooses another)")
    settings = read_settings(task, preset, request.config, request.settings, say, chosen)
    found = sizes = None
    if named := named_encoder(home, request, settings):
        found = find_encoder(home, named, say, download=download)
        sizes = found.config
        say(f"encoder: {sizes.source}, frozen ({sizes.depth} x {sizes.width}, sha256 {sizes.sha256[:16]}...)")
    elif request.init_from and settings.takes_encoder:
        sizes = parents_encoder(home, request.init_from, request.what, settings.method)
    config = settings.config(sizes, found.image_size if found else None)
    for line in chosen.told(config) if chosen else ():
        say(line)
    if recording is None:
        recording = task_recording(home, task, request.dataset, say)
        say(f"dataset: {recording.name} ({recording.path})")
    name = request.name
    if name and names_state(name):
        raise UsageError(f"{name!r} would mean a state of a run; choose a --name without {name[name.rindex('@') :]}")
    name = name or f"{run_folder(request.what)}/{config.method}"
    return Job(name, RunFiles(home.new_run_stem(name)), task, recording, _sized(config, recording), encoder=found)


def _chosen(home: Home, request: TrainingRequest, recording: Dataset, device: torch.device) -> ChosenSettings:
    """Settings that suit a recording; of one that a run is to go on with, those that its weights need."""
    if request.init_from:
        parent = home.find_run(request.init_from)
        if card := read_card(parent.files.weights) if parent.own else None:
            return parents_settings(parent.name, card, recording.lengths)
    return choose_settings(recording.lengths, recording.fps, device.type)


def resumed_job(home: Home, request: TrainingRequest, say: Say) -> Job:
    """Find the run that stopped, and the recording it was trained on; raises LewmError if there is none, or another."""
    name, card = stopped_run(home, request, say)
    assert card.provenance is not None
    trained_on = card.provenance.dataset
    recording = home.find_dataset(request.dataset or trained_on.name, say)
    if trained_on.fingerprint != recording.identity.fingerprint:
        raise LewmError(
            f"{recording.name} is not the recording that {name} was trained on ({trained_on.name}, "
            f"{trained_on.episodes} episodes); name that one with --dataset"
        )
    own = Layer(f"the configuration of {name}", card.provenance.train.model_dump(by_alias=True, exclude_none=True))
    files = RunFiles(home.run_stem(name))
    logged = [read_toml(files.logging)] if files.logging.exists() else []
    merged = merge_layers([own, *logged, *request.settings])
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
    other = f"the same command with --method {without}" if without else command("methods")
    instead = f"name another recording, or train with a method that takes none: {other}"
    taker = f"the method {method}" + (f" with model.proprio = {sizes.proprio}" if sizes.proprio else "")
    return require_proprio(job.dataset, sizes.proprio, taker, instead)


def clip_batches(
    job: Job, index: ClipIndex, frames: Frames, inputs: Inputs, *, pinned: bool = False, encoded: bool = False
) -> ClipBatches:
    """Clips of the recording of a job as its network takes them."""
    proprio = taken_proprio(job)
    return ClipBatches(index, frames, job.dataset.actions, inputs, proprio=proprio, pinned=pinned, encoded=encoded)


def frozen_encoder(home: Home, job: Job, parent: Run | None) -> FrozenEncoder | None:
    """The encoder that the network of a job looks through, with its weights; None for a network that trains its own."""
    sizes = getattr(job.config.model, "encoder", None)
    if not isinstance(sizes, FrozenEncoderConfig):
        return None
    encoder = FrozenEncoder(sizes, job.config.model.image_size)
    if job.encoder:
        encoder.backbone.load_state_dict(job.encoder.state, strict=True)
        return encoder
    model = parent.model if parent else load_weights(home, job.name).model
    encoder.load_state_dict(model.get_submodule("encoder").state_dict(), strict=True)
    return encoder


def new_card(job: Job, split: Split, device: torch.device, parent: Run | None) -> RunCard:
    """The card of a run that begins; raises LewmError if the weights of its parent do not fit it."""
    config, dataset = job.config, job.dataset
    frameskip, proprio = config.data.frameskip, taken_proprio(job)
    made = {"task": job.task.name, "frameskip": frameskip} | vars(RecordedFacts.of(dataset))
    # Statistics travel with the weights: what starts from a run's weights keeps what they were trained with.
    inputs = (
        parent.card.inputs.model_copy(update=made)
        if parent
        else Inputs(
            actions=ActionStats.fit(used_actions(dataset)),
            proprio=None if proprio is None else ProprioStats.fit(used_rows(dataset, proprio)),
            **made,
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


def check_recording(job: Job, say: Say) -> None:
    """Raise LewmError if a job cannot learn from its recording: damaged, without what the network takes, or still."""
    taken_proprio(job)
    require_usable(job.dataset, say)
    if job.card is None:
        require_what_is_learned_from(job)


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


def resumed_card(card: RunCard, device: torch.device) -> RunCard:
    """The card of a resumed run, which adds this device, these versions and this command."""
    assert card.provenance is not None
    command = f"{card.provenance.command} && {command_line()}"
    here = {"device": str(device), "versions": installed_versions(), "command": command}
    return card.model_copy(update={"provenance": card.provenance.model_copy(update=here)})
