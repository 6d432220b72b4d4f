"""When training stops, and the learning rate until then."""

import math
from dataclasses import dataclass

from lewm_cli.config import TrainConfig


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then cosine to 0 at the end of the *scheduled* steps, which may lie beyond the stop.

    Args:
        total_steps: where training stops.
        decay_steps: where the cosine reaches 0.
        warmup_steps: of the linear rise.
        peak: learning rate after it.
    """

    total_steps: int
    decay_steps: int
    warmup_steps: int
    peak: float

    @classmethod
    def of(cls, config: TrainConfig, clips: int) -> "Schedule":
        """The schedule for a number of training clips."""
        per_epoch = max(1, clips // config.optimizer.batch_size)
        plan = config.schedule
        total = plan.steps or plan.epochs * per_epoch
        decay = max(total, plan.decay_epochs * per_epoch) if plan.decay_epochs else total
        return cls(total, decay, max(1, round(plan.warmup * decay)), config.optimizer.lr)

    def lr(self, step: int) -> float:
        """Learning rate of the step with this number, counted from 0."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.decay_steps - self.warmup_steps)
        return self.peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
