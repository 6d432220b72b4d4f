"""Actors that look at nothing: random actions, no action, recorded actions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lewm_cli.control.actor import Actions, Actor, ActorEpisode, Frame

ActionSampler = Callable[[np.random.Generator], Actions]
"""Draws an action (A,) uniformly from an action space."""


@dataclass(kw_only=True)
class _OpenLoopEpisode(ActorEpisode):
    source: Any
    """Source of the next actions."""


class RandomActor(Actor):
    """Draws every action uniformly.

    Args:
        sample: of the action space.
    """

    def __init__(self, sample: ActionSampler) -> None:
        super().__init__()
        self._sample = sample

    def begin(self, goals: Sequence[Frame], seeds: Sequence[int]) -> Sequence[ActorEpisode]:
        """See `Actor`."""
        return [_OpenLoopEpisode(source=np.random.default_rng(seed)) for seed in seeds]

    def act(self, episodes: Sequence[_OpenLoopEpisode], frames: Sequence[Frame]) -> Sequence[Actions]:
        """See `Actor`."""
        return [self._sample(episode.source)[None] for episode in episodes]


class NoActionActor(RandomActor):
    """Takes no action, which is 0 in the units of the environment; the sample is only asked for its shape."""

    def act(self, episodes: Sequence[_OpenLoopEpisode], frames: Sequence[Frame]) -> Sequence[Actions]:
        """See `Actor`."""
        return [np.zeros_like(actions) for actions in super().act(episodes, frames)]


class RecordedActor(Actor):
    """Replays recorded actions, then takes none.

    Args:
        recorded: actions (L, A) by the seed of the episode.
    """

    def __init__(self, recorded: Mapping[int, Actions]) -> None:
        super().__init__()
        self._recorded = recorded

    def begin(self, goals: Sequence[Frame], seeds: Sequence[int]) -> Sequence[ActorEpisode]:
        """See `Actor`."""
        return [_OpenLoopEpisode(source=self._recorded[seed]) for seed in seeds]

    def act(self, episodes: Sequence[_OpenLoopEpisode], frames: Sequence[Frame]) -> Sequence[Actions]:
        """See `Actor`."""
        left = [episode.source for episode in episodes]
        for episode in episodes:
            episode.source = episode.source[self.steps :]
        return [np.concatenate([actions, np.zeros((1, actions.shape[1]), actions.dtype)]) for actions in left]
