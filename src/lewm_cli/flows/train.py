"""Train a run: find what it needs, take its name once nothing can be wrong with it any more, and start the loop."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import tomli_w
import torch

from lewm_cli.config import ActionStats, Inputs, Layer
from lewm_cli.data import ClipBatches, Split, find_packed, open_frames, pack_frames, split_clips
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.files import locked, remove_stale_parts, write_text
from lewm_cli.flows import Progress
from lewm_cli.flows.job import Job, new_job, resumed_job
from lewm_cli.methods import Provenance, RunCard
from lewm_cli.model import resolve_device
from lewm_cli.provenance import command_line, installed_versions
from lewm_cli.store import Home, Run, RunFiles, Say, load_run
from lewm_cli.train import JsonLog, Listener, Trainer, TrainingData, TrainingFinished


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
    init_from: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> TrainingFinished:
    """Train to the end.

    Args:
        what: a task, or a dataset by name or path.
        listeners: called with every event of the training.
        say: called with what was chosen on the user's behalf.
        progress: shows the packing of frames.
        preset: preset name; `release` on CUDA, else `small`, if not given.
        dataset: which recording of the task.
        config: a TOML file laid over the preset.
        settings: single settings laid over both, later ones win.
        name: run name; the next free `<task>/<method>` if not given.
        init_from: a run whose weights are the start.

    Raises:
        UsageError: a configuration that cannot mean anything, or settings for a run that is resumed.
        LewmError: whatever else stops it; what was saved stays.
        StoppedError: Ctrl-C or SIGTERM; everything is saved.
    """
    there = resolve_device(device)
    if resume and (settings or config or preset or init_from or overwrite):
        raise UsageError(
            "--resume goes on with the run's own configuration; leave out --preset, --config, --init-from, "
            "--overwrite and every setting"
        )
    if resume:
        job = resumed_job(home, what, say, dataset=dataset, name=name)
    else:
        job = new_job(
            home, what, there, say, preset=preset, dataset=dataset, config=config, settings=settings, name=name
        )
    with locked(job.files.weights, f"another training is writing {job.name!r}; choose another --name"):
        if not resume:
            _refuse_taken(home, job.name, overwrite=overwrite)
        for path in (job.files.weights, job.files.state_dict, job.files.object, job.files.resume):
            remove_stale_parts(path)  # of a training that was killed
        split = split_clips(job.dataset, job.config.data, job.config.model.history + 1, job.config.seed)
        parent = load_run(home, init_from, say=say) if init_from else None
        card = _resumed_card(job.card, there) if job.card else _new_card(job, split, there, parent)
        torch.manual_seed(job.config.seed)
        model = card.new_model()
        if parent:
            model.load_state_dict(parent.model.state_dict(), strict=True)
        size = job.config.model.image_size
        if job.config.data.packed and not find_packed(job.dataset, size, home.cache):
            with progress("packing", job.dataset.rows, "frames") as advance:
                pack_frames(job.dataset, size, home.cache, advance)
        frames = open_frames(job.dataset, size, home.cache)
        data = TrainingData(
            train=ClipBatches(split.train, frames, job.dataset.actions, card.inputs),
            held_out=ClipBatches(split.held_out, frames, job.dataset.actions, card.inputs),
            held_out_episodes=len(split.held_out_episodes),
        )
        listeners = (JsonLog(job.files.log), *listeners)
        trainer = Trainer(job.name, job.files, job.config, card, data, model, there, listeners)
        if not resume:
            # Only now: whatever can be wrong with the request has been found, and the old run is still there.
            _make_room(job.files)
            write_text(job.files.config, tomli_w.dumps(job.config.model_dump(by_alias=True, exclude_none=True)))
        return trainer.run(resume=resume)


def _refuse_taken(home: Home, name: str, *, overwrite: bool) -> None:
    above = home.run_above(name)
    if above:
        raise LewmError(f"{name!r} would need a folder named like the run {above!r}; choose another --name")
    if home.run_is_taken(name) and not overwrite:
        raise LewmError(
            f"the run {name!r} exists; --resume goes on with it, --overwrite replaces it, "
            "and without --name the next free name is taken"
        )


def _make_room(files: RunFiles) -> None:
    if files.weights.exists() and files.results.exists():
        shutil.rmtree(files.results)  # measured on weights that are going
    for path in (files.weights, files.state_dict, files.object, files.resume, files.log):
        path.unlink(missing_ok=True)


def _new_card(job: Job, split: Split, device: torch.device, parent: Run | None) -> RunCard:
    config, dataset = job.config, job.dataset
    frameskip = config.data.frameskip
    # Statistics travel with the weights: what starts from a run's weights keeps what they were trained with.
    inputs = (
        parent.card.inputs.model_copy(update={"task": job.task.name, "frameskip": frameskip})
        if parent
        else Inputs(task=job.task.name, frameskip=frameskip, actions=ActionStats.fit(dataset.actions))
    )
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


def _its_sizes(parent: Run) -> str:
    """Advice to train with the sizes of a run: its own configuration, if it left one."""
    if parent.files.config.exists():
        return f"train with its own: --config {parent.files.config}"
    model, inputs = parent.card.model, parent.card.inputs
    return (
        f"set model.latent={model.latent}, model.image_size={model.image_size}, data.frameskip={inputs.frameskip} and "
        f"the others that `lewm show {parent.name} --json` has"
    )


def _resumed_card(card: RunCard, device: torch.device) -> RunCard:
    """The card of a resumed run, which adds this device, these versions and this command."""
    assert card.provenance is not None
    here = {
        "device": str(device),
        "versions": installed_versions(),
        "command": f"{card.provenance.command} && {command_line()}",
    }
    return card.model_copy(update={"provenance": card.provenance.model_copy(update=here)})
