"""An episode that has begun: its simulator waits for actions."""

from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import torch

from lewm_cli.evaluate.pairs import Pair
from lewm_cli.evaluate.stage import Answer, Progressed
from lewm_cli.plan import Plan, WarmStart


@dataclass
class Open:
    """An episode that has begun.

    Args:
        number: of the pair.
        generator: what is drawn in planning for it.
        floor: whether random actions reach the goal; None where that is known.
        goal: (D,) latent of the goal.
        goal_frame: (H, W, 3) uint8.
        frame: (H, W, 3) uint8, what is seen now.
        progressed: how it stands.
        actions: (K, A) taken so far.
        film: frames that the camera saw before each step.
        guess: where its next plan begins, if that is asked for.
        iterations: that its plans took.
        flops: that its plans took, of the plain rollout.
    """

    number: int
    pair: Pair
    generator: torch.Generator
    floor: "Future[Answer] | None"
    frame: np.ndarray
    goal_frame: np.ndarray
    progressed: Progressed
    actions: np.ndarray
    goal: torch.Tensor | None = None
    film: list[np.ndarray] = field(default_factory=list)
    guess: WarmStart | None = None
    iterations: int = 0
    flops: float = 0.0

    def planned(self, plan: Plan) -> None:
        """Add up what its next plan took."""
        self.iterations += int(plan.iterations)
        self.flops += 0.0 if plan.flops is None else float(plan.flops)

    @property
    def steps(self) -> int:
        """Environment steps taken."""
        return len(self.progressed.path) - 1
