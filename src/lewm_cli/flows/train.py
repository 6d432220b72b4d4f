"""Train a run: find what it needs, take its name once nothing can be wrong with it any more, and start the loop."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import tomli_w
import torch

from lewm_cli.data import Dataset, DecodedFrames, Frames, MemoryFrames, belongs_in_memory, split_clips
from lewm_cli.errors import TakenError
from lewm_cli.files import locked, remove_stale_parts, try_writing, write_text
from lewm_cli.flows import Progress
from lewm_cli.flows.pack import packing_advice
from lewm_cli.flows.training_dashboards import dashboards, keep_log_settings
from lewm_cli.flows.training_job import (
    Job,
    check_recording,
    clip_batches,
    frozen_encoder,
    new_card,
    new_job,
    refuse_taken,
    resumed_card,
    resumed_job,
    with_batch_size,
)
from lewm_cli.flows.training_request import TrainingRequest, check_resumption
from lewm_cli.methods import RunCard
from lewm_cli.model import resolve_device
from lewm_cli.plural import counted
from lewm_cli.store import Home, RunFiles, Say, load_run
from lewm_cli.tasks import GENERIC
from lewm_cli.train import (
    EncodedFrames,
    JsonLog,
    Listener,
    Trainer,
    TrainingData,
    TrainingFinished,
    belong_encoded,
    encoded_bytes,
)


def train(
    home: Home, request: TrainingRequest, *, listeners: tuple[Listener, ...], say: Say, progress: Progress
) -> TrainingFinished:
    """Train to the end.

    Raises:
        UsageError: a configuration that cannot mean anything, or settings for a run that is resumed.
        LewmError: whatever else stops it; what was saved stays.
        StoppedError: Ctrl-C or SIGTERM; everything is saved.
    """
    there = resolve_device(request.device)
    if request.resume:
        check_resumption(home, request)
        job = resumed_job(home, request, say)
    else:
        job = new_job(home, request, there, say)
    check_recording(job, say)
    split = split_clips(job.dataset, job.config.data, job.config.model.history + 1, job.config.seed)
    validation = None
    if job.config.eval.every:
        from lewm_cli.flows.validation import ValidationPairs  # late: what plans and simulates takes long to import

        validation = ValidationPairs.find(job.task, job.dataset, job.config, split.held_out_episodes, say)
    with _claimed(home, job, chosen=request.name is not None, overwrite=request.overwrite) as job:
        try_writing(job.files.weights)
        best = job.files.best
        for path in (best.weights, job.files.weights, job.files.state_dict, job.files.object, job.files.resume):
            remove_stale_parts(path)  # of a training that was killed
        short = int((job.dataset.lengths < split.train.span).sum())
        if short:
            say(f"left out: {short} of {job.dataset.episodes} episodes, shorter than a clip ({split.train.span} rows)")
        if job.task is GENERIC:
            _say_too_few(len(split.held_out_episodes), say)
        parent = load_run(home, request.init_from, say=say) if request.init_from else None
        card = resumed_card(job.card, there) if job.card else new_card(job, split, there, parent)
        if parent and parent.method != job.config.method:
            say(f"{parent.name} was trained with {parent.method}; its weights go on with {job.config.method}")
        if (parent or job.encoder) and (seen := _seen_before(card, job.dataset)):
            say(
                f"note: {seen} of {counted(len(split.held_out_episodes), 'held-out episode')} had been trained on in "
                "the run that the encoder or the start is from, so what is measured on them may be too good"
            )
        rows, size = len(job.dataset.actions), job.config.model.image_size
        frames: Frames = DecodedFrames(job.dataset, size)
        encoder, placement, encoded = frozen_encoder(home, job, parent), job.config.data.in_memory, None
        if encoder and belong_encoded(rows, encoder, there, placement):
            say(
                f"the frozen encoder sees each of {counted(rows, 'frame')} once: patch tokens are kept in memory, "
                f"{encoded_bytes(rows, encoder) / 1e9:.2g} GB (--set data.in_memory=false encodes them at each step)"
            )
            with progress("encoding", rows, "frames") as advance:
                precision = job.config.optimizer.precision
                encoded = EncodedFrames(frames, rows, encoder, card.inputs.pixels, there, precision)
                encoded.fill_all(advance)
        elif belongs_in_memory(job.dataset, size, placement):
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
        if encoder:
            model.get_submodule("encoder").load_state_dict(encoder.state_dict(), strict=True)
        pinned, known = there.type == "cuda", encoded is not None
        data = TrainingData(
            train=clip_batches(job, split.train, frames, card.inputs, pinned=pinned, encoded=known),
            held_out=clip_batches(job, split.held_out, frames, card.inputs, pinned=pinned, encoded=known),
            held_out_episodes=len(split.held_out_episodes),
            encoded=encoded,
        )
        shown = dashboards(job, split, frames, there, say)
        listeners = (JsonLog(job.files.log), *listeners, *shown)
        evaluator = validation.evaluator(job.name, job.files, frames) if validation else None
        trainer = Trainer(job.name, job.files, job.config, card, data, model, there, listeners, evaluator)
        if not request.resume:
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
        return trainer.run(resume=request.resume)


def _say_too_few(held_out: int, say: Say) -> None:
    from lewm_cli.offline import SURE  # late: what measures takes long to import

    if held_out < SURE:
        say(
            f"note: {counted(held_out, 'whole episode')} held out, and `lewm eval` shows nothing on fewer than {SURE}; "
            "record more, hold out more with --set data.validation=0.5, or name another recording when you evaluate: "
            "--dataset"
        )


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


def _seen_before(card: RunCard, dataset: Dataset) -> int:
    """The number of held-out episodes that have been trained on nevertheless, in an earlier run."""
    assert card.provenance is not None
    trained_on = set(card.provenance.trained_on)
    return sum(dataset.episode_digests[number] in trained_on for number in card.provenance.held_out)
