"""Classes of distances in time: one model step wide where goals are near, wider where they are far."""

from dataclasses import dataclass

import torch
from torch import Tensor

GROWTH = 1.2
"""Of the edges, where that is more than one model step."""

BEYOND = 1.5
"""What frames of different episodes count as, in longest episodes."""


@dataclass(frozen=True)
class Distances:
    """Classes of distances.

    Args:
        edges: (C - 2,) model steps at which one class ends and the next begins.
        steps: (C,) model steps that each class stands for; the last is that of frames of different episodes.
    """

    edges: Tensor
    steps: Tensor

    @classmethod
    def up_to(cls, longest: float) -> "Distances":
        """Classes for episodes of so many model steps, which is at least one."""
        edges = [0.5]
        while (following := max(edges[-1] + 1, edges[-1] * GROWTH)) < longest:
            edges.append(following)
        ends = torch.tensor([0.0, *edges, max(longest, edges[-1])])
        middles = (ends[1:] + ends[:-1]) / 2
        return cls(torch.tensor(edges), torch.cat([middles, torch.tensor([BEYOND * longest])]))

    @property
    def beyond(self) -> int:
        """The class of frames of different episodes."""
        return len(self.steps) - 1

    def classes(self, distances: Tensor) -> Tensor:
        """The class of each distance, in model steps."""
        return torch.bucketize(distances, self.edges, right=True)
