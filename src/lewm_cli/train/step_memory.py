"""The memory that a training step takes, by batch size: measured on a few clips, and reckoned from there."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lewm_cli.data import Clip
from lewm_cli.methods import Phase
from lewm_cli.train.learner import Learner
from lewm_cli.train.memory import process_peak
from lewm_cli.workers import available_memory

MEASURED = 4, 8
"""Clips of the two steps that are measured; what a step takes grows evenly with the clips."""

KEPT = 1.35
"""Bytes that a CPU's memory gives away for a byte that lives: what is freed in between cannot always be used again."""


@dataclass(frozen=True)
class StepMemory:
    """The memory of a training, in bytes, which is `fixed + clips * per_clip`.

    Args:
        device: whose memory it is.
        fixed: whatever the batch: weights, gradients, moments of the optimizer; on a CPU Python, its libraries and the
            frames in memory too.
        per_clip: what lies between the layers, kept for the gradient.
        available: on the device, for all of it.
    """

    device: str
    fixed: int
    per_clip: int
    available: int

    @classmethod
    def measure(cls, learner: Learner, clips: Callable[[Phase], Clip], frames: int = 0) -> Self:
        """Take steps with a few clips in every phase, which change the learner; the most that one of them takes counts.

        On CUDA torch tells the peak of its allocator. Elsewhere the tensors that are alive are counted.

        Args:
            clips: of a phase; there must be 8 for each part of a batch.
            frames: bytes of those that would be read into main memory before, and are not yet.
        """
        device, cuda = learner.device, learner.device.type == "cuda"
        moments = 2 * sum(weights.nbytes for weights in learner.trained)
        process = 0 if cuda else process_peak()
        free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) if cuda else available_memory()
        less, most = (size * learner.settings.accumulate for size in MEASURED)
        each = alone = 0.0
        for phase in learner.objective.phases:
            learner.phase, own = phase, clips(phase)
            _peak(learner, own, less)  # only then there are moments
            few, more = (_peak(learner, own, size) for size in (less, most))
            growing = (more - few) / (most - less)
            each, alone = max(each, growing), max(alone, few - less * growing)
        if cuda:
            return cls(str(device), round(torch.cuda.memory_allocated(device) + alone), round(each), free)
        # The process now holds what libraries load at a first step, too.
        fixed = max(process + moments + alone, process_peak() - most * each) + frames
        return cls(str(device), round(fixed), round(KEPT * each), process + free)

    def of(self, clips: int) -> int:
        """Bytes with a batch of so many clips."""
        return self.fixed + clips * self.per_clip

    @property
    def largest(self) -> int:
        """Clips that fit at most; less than 2 where none do."""
        return max(0, (self.available - self.fixed) // max(1, self.per_clip))


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes that tensors made meanwhile hold.

    Attributes:
        peak: at most at the same time.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._held = dict[int, int]()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        """Count what a function makes, and not what it is given."""
        self._hold((args, kwargs), counted=False)
        result = function(*args, **(kwargs or {}))
        self._hold(result, counted=True)
        self.peak = max(self.peak, sum(self._held.values()))
        return result

    def _hold(self, tree: object, *, counted: bool) -> None:
        for tensor in filter(torch.is_tensor, tree_leaves(tree)):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._held:
                self._held[storage._cdata] = storage.nbytes() if counted else 0
                weakref.finalize(storage, self._held.pop, storage._cdata, None)


def _peak(learner: Learner, clips: Clip, size: int) -> int:
    """Bytes that a step with so many clips makes beside those that are held before it."""
    part = clips.each(lambda part: part[:size])
    learner.optimizer.zero_grad(set_to_none=True)
    if learner.device.type == "cuda":
        held = torch.cuda.memory_allocated(learner.device)
        torch.cuda.reset_peak_memory_stats(learner.device)
        learner.step(part, 0.0)
        return torch.cuda.max_memory_allocated(learner.device) - held
    with LiveBytes() as memory:
        learner.step(part, 0.0)
    return int(memory.peak)
