"""The batch size that fits into memory, found by trying steps on random clips."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lewm_cli.config import Inputs
from lewm_cli.data import Clip
from lewm_cli.errors import LewmError
from lewm_cli.methods import TrainConfig
from lewm_cli.train.learner import Learner, out_of_memory
from lewm_cli.train.step_memory import MEASURED, StepMemory

MOST = 1024
"""Clips at a time that are tried at most: the learning rate stays as it is, and larger batches would need another."""

SHARE = 0.9
"""The part of the free memory that a step may take; held-out measurements and the next batches need some too."""


def largest_batch(config: TrainConfig, inputs: Inputs, device: torch.device, most: int = MOST, frames: int = 0) -> int:
    """Clips that fit at once, a power of two; with `optimizer.accumulate` a batch is so many times as large.

    A GPU says when its memory is full. Other devices drive something else out, or end the process; there, what a step
    takes is measured on a few clips.

    Args:
        frames: bytes of those that would be read into main memory before, and are not yet.

    Raises:
        LewmError: not even two clips fit.
    """
    settings = config.optimizer.model_copy(update={"batch_size": 2, "accumulate": 1, "compile": False})
    alone = config.model_copy(update={"optimizer": settings})
    network = type(config.objective).network(config.model, inputs.block_dim)
    learner = Learner(alone, inputs, network, device)
    if device.type != "cuda" and _fits(learner, MEASURED[1]):
        fits = StepMemory.measure(learner, lambda phase: _random_clips(learner, MEASURED[1]), frames).largest
        most = min(most, max(2, int(SHARE * fits)))
    size = 1 << (min(most, MOST).bit_length() - 1)
    with _less_memory(device):
        while size >= 2 and not _fits(learner, size):
            size //= 2
    if size < 2:
        raise LewmError(
            f"not even two clips at a time fit into the memory of {device}; try --set optimizer.checkpointing=true, "
            "a smaller model.image_size or another --device"
        )
    return size


def does_not_fit(config: TrainConfig, inputs: Inputs, device: torch.device) -> LewmError:
    """The error of a step that memory does not suffice for; it names the batch size that fits."""
    batch, parts = config.optimizer.clips, config.optimizer.accumulate
    try:
        fits = largest_batch(config, inputs, device, batch // parts - 1)
    except LewmError as error:
        return error
    more = next((n for n in range(parts + 1, batch // 2 + 1) if batch % n == 0 and batch // n <= fits), None)
    instead = f", or --set optimizer.accumulate={more}, which takes a batch of {batch} in {more} parts" if more else ""
    return LewmError(
        f"{device} is out of memory at {batch // parts} clips at a time, and {fits} fit: "
        f"--batch-size {fits * parts}{instead}"
    )


def _fits(learner: Learner, size: int) -> bool:
    try:
        for phase in learner.objective.phases:
            learner.phase = phase
            learner.step(_random_clips(learner, size), 0.0)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return False
    return True


@contextmanager
def _less_memory(device: torch.device) -> Iterator[None]:
    """A GPU as if it were smaller than it is."""
    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device):
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(SHARE)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
            torch.cuda.empty_cache()


def _random_clips(learner: Learner, count: int) -> Clip:
    model, inputs = learner.model.config, learner.inputs
    shape = (count, model.history + 1, model.image_size, model.image_size, 3)
    pixels = torch.randint(256, shape, dtype=torch.uint8)
    blocks, proprio = torch.randn(*shape[:2], inputs.block_dim), None
    if inputs.proprio is not None:
        proprio = torch.randn(*shape[:2], inputs.proprio.dim)
    return Clip(pixels, blocks, proprio, pixels[:, -1] if learner.phase.goals else None)
