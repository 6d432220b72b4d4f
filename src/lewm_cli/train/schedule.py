"""The schedule of a training run: its last step, and the learning rate until then."""

import math
from dataclasses import dataclass
from typing import Self

from lewm_cli.errors import LewmError, UsageError
from lewm_cli.methods import Phase, TrainConfig


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up to the peak, then cosine to 0 at the end of the decay steps, which may lie beyond the stop.

    Without decay steps the peak is kept.
    """

    total_steps: int
    decay_steps: int | None
    warmup_steps: int
    peak: float
    phases: tuple[Phase, ...] = (Phase(),)

    @classmethod
    def of(cls, config: TrainConfig, clips: int) -> Self:
        """The schedule for a number of training clips.

        Raises:
            UsageError: the cosine ends before training does.
            LewmError: there are fewer clips than a batch takes.
        """
        per_epoch = clips // config.optimizer.clips
        if per_epoch == 0:
            raise LewmError(
                f"a batch takes {config.optimizer.clips} clips but there are only {clips} to train on; "
                "record more episodes or lower --batch-size"
            )
        plan, phases = config.schedule, config.objective.phases
        total = _steps(plan.stop, per_epoch)
        if total < len(phases):
            names = " and ".join(phase.name for phase in phases)
            raise UsageError(f"{config.method} is trained in phases ({names}), and {plan.stop} is too short for all")
        if plan.decay == "never":
            return cls(total, None, max(1, round(plan.warmup * total)), config.optimizer.lr, phases)
        decay = _steps(plan.decay, per_epoch) if plan.decay else total
        if decay < total:
            raise UsageError(
                f"the cosine reaches 0 at schedule.decay = {plan.decay!r} ({decay:,} steps), before training stops at "
                f"{plan.stop!r} ({total:,} steps); give a longer --set schedule.decay"
            )
        return cls(total, decay, max(1, round(plan.warmup * decay)), config.optimizer.lr, phases)

    def begin(self, phase: Phase) -> int:
        """The number of the first step of a phase, counted from 0."""
        place = self.phases.index(phase)
        return self.end(self.phases[place - 1]) if place else 0

    def end(self, phase: Phase) -> int:
        """The steps after which a phase ends; every phase has one at least."""
        place = self.phases.index(phase) + 1
        after = len(self.phases) - place
        return min(max(place, round(phase.until * self.total_steps)), self.total_steps - after)

    def phase(self, step: int) -> Phase:
        """The phase of the step with this number, counted from 0."""
        return next((phase for phase in self.phases if step < self.end(phase)), self.phases[-1])

    def lr(self, step: int) -> float:
        """Learning rate of the step with this number, counted from 0."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        if self.decay_steps is None:
            return self.peak
        progress = (step - self.warmup_steps) / max(1, self.decay_steps - self.warmup_steps)
        return self.peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _steps(duration: str, per_epoch: int) -> int:
    count, unit = duration.split()
    return int(count) * (per_epoch if unit.startswith("epoch") else 1)
