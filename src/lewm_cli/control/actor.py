"""The seam for what acts: an actor gets observations and goals, and gives actions. A new one is a module with a class.

The evaluation loop, `lewm_cli.Policy` and the references speak to this class only.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lewm_cli.config import DatasetIdentity
from lewm_cli.control.clock import Clock

Frame = npt.NDArray[np.uint8]
"""An image (H, W, 3)."""

Proprio = npt.NDArray[np.floating]
"""Proprioception (P,), in the units of the environment: what the recorded column `proprio` holds."""

Actions = npt.NDArray[np.floating]
"""Actions (L, A), one per environment step, in the units of the environment."""


@dataclass(frozen=True)
class Observation:
    """One view of the world, as it is or as it is to be.

    Args:
        proprio: the proprioception beside the frame; None where nothing measures it.
    """

    frame: Frame
    proprio: Proprio | None = None


@dataclass(kw_only=True)
class ActorEpisode:
    """The state of an actor in one episode. Actors that remember more extend it."""

    iterations: int = 0
    """Those of a solver, spent so far."""
    flops: float = 0.0
    """Those of the plain rollout, or of a policy's forward passes, spent so far."""


class Actor(ABC):
    """Acts in many episodes side by side.

    Attributes:
        steps: environment steps to take before it is asked again.
        at_once: episodes that are worth having active at once.
        head_sha256: of the file of the head that it judges plans by, if it does.
        prior_sha256: of the file of the behavior prior that it asks, if it does.
        anchors: the recording at whose frames it aims, if it does.
        clock: times its parts; an evaluation sets its own.
    """

    steps: int = 1
    at_once: int = 64
    head_sha256: str | None = None
    prior_sha256: str | None = None
    anchors: DatasetIdentity | None = None

    def __init__(self) -> None:
        self.clock = Clock()

    @abstractmethod
    def begin(self, goals: Sequence[Observation], seeds: Sequence[int]) -> Sequence[ActorEpisode]:
        """Begin episodes.

        Args:
            goals: one per episode.
            seeds: one per episode, the only source of randomness in it.
        """

    @abstractmethod
    def act(self, episodes: Sequence[Any], seen: Sequence[Observation]) -> Sequence[Actions]:
        """Choose the next actions of some episodes.

        Args:
            episodes: that `begin` gave; the actor changes them.
            seen: what each of them looks like now.

        Returns:
            one array (L, A) per episode, L at least `steps`; what is beyond them is only followed to see whether a
            goal that was reached stays reached.
        """
