"""A training that is not done: what it would take is measured, and nothing is written."""

import os
import shutil

from lewm_cli.data import DecodedFrames, belongs_in_memory, frame_bytes, split_clips
from lewm_cli.errors import LewmError
from lewm_cli.flows.training_job import (
    check_recording,
    clip_batches,
    frozen_encoder,
    new_card,
    new_job,
    refuse_taken,
    with_batch_size,
)
from lewm_cli.flows.training_request import TrainingRequest
from lewm_cli.model import resolve_device
from lewm_cli.store import Home, Run, Say, load_weights, stored_card
from lewm_cli.suggestion import command
from lewm_cli.train import EncodedFrames, Forecast, belong_encoded, encoded_bytes, measure_forecast


def forecast_training(home: Home, request: TrainingRequest, *, say: Say) -> Forecast:
    """Find all that a training needs, and take a few of its steps; errors are those of `train`.

    Raises:
        LewmError: memory does not suffice; the error names the batch size that fits.
    """
    there = resolve_device(request.device)
    job = new_job(home, request, there, say, download=False)
    check_recording(job, say)
    if request.name:
        refuse_taken(home, request.name, overwrite=request.overwrite)
    settled, size = job.config, job.config.model.image_size
    split = split_clips(job.dataset, settled.data, settled.model.history + 1, settled.seed)
    if settled.eval.every:
        from lewm_cli.flows.validation import ValidationPairs  # late: what plans and simulates takes long to import

        ValidationPairs.find(job.task, job.dataset, settled, split.held_out_episodes, say)
    parent, rows, placement = _parent(home, request.init_from), len(job.dataset.actions), settled.data.in_memory
    card, encoder = new_card(job, split, there, parent), frozen_encoder(home, job, parent)
    frames, encoded = DecodedFrames(job.dataset, size), None
    if encoder and belong_encoded(rows, encoder, there, placement):
        kept = encoded_bytes(rows, encoder)
        encoded = EncodedFrames(frames, rows, encoder, card.inputs.pixels, there, settled.optimizer.precision)
    else:
        kept = belongs_in_memory(job.dataset, size, placement) * frame_bytes(rows, size)
    if settled.optimizer.batch_size == "auto":
        job, card = with_batch_size(job, card, there, len(split.train), say, kept)
        settled = job.config
    say(f"measuring memory and time with a few steps on {job.dataset.name}; nothing is written")
    return measure_forecast(
        request.name or next(home.free_names(job.name, "run")),
        settled,
        card,
        clip_batches(job, split.train, frames, card.inputs, encoded=encoded is not None),
        len(split.held_out),
        there,
        kept=kept,
        free=shutil.disk_usage(next(path for path in (home.write, *home.write.parents) if os.path.lexists(path))).free,
        encoded=encoded,
    )


def _parent(home: Home, name: str | None) -> Run | None:
    """The run whose weights would be the start; statistics that it does not have are not computed, only asked for."""
    loaded = load_weights(home, name) if name else None
    if loaded is None:
        return None
    card = stored_card(home, loaded)
    if card is None:
        raise LewmError(
            f"{loaded.name} carries no statistics of actions; compute them first: "
            + command("show", loaded.name, "--stats-from", "DATASET")
        )
    return Run(**vars(loaded) | {"card": card})
