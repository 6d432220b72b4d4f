"""What open episodes are planned by."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from lewm_cli.evaluate.clock import Clock
from lewm_cli.evaluate.objectives import Judge
from lewm_cli.evaluate.open_episode import Open
from lewm_cli.plan import Cost
from lewm_cli.store import Run
from lewm_cli.workers import available_cores


class Costs(Protocol):
    """Makes the cost by which open episodes are planned for."""

    def __call__(self, open_ones: list[Open]) -> Cost:
        """As they stand now."""
        ...


@dataclass(frozen=True)
class LatentCosts:
    """By where the model imagines that candidates lead.

    Args:
        judge: imagines and judges.
        clock: times the encoder.
    """

    judge: Judge
    clock: Clock

    def __call__(self, open_ones: list[Open]) -> Cost:
        """From what is seen now."""
        starts = embed_each(self.judge.run, [one.frame for one in open_ones], self.clock)
        goals = torch.stack([one.goal for one in open_ones])
        return self.judge.cost(starts, goals)


def embed_each(run: Run, frames: list[np.ndarray], clock: Clock) -> torch.Tensor:
    """Latents (N, D) of frames; on a CPU each by itself, so that no other has a say in its rounding."""
    with clock("encoder"):
        if not frames:
            return torch.empty(0)
        if run.device.type != "cpu":
            return run.embed(np.stack(frames))
        with ThreadPoolExecutor(available_cores()) as pool:
            return torch.cat(list(pool.map(lambda frame: run.embed(frame[None]), frames)))
