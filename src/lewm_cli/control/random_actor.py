"""The random baseline, and the actor that takes no action: neither looks at anything."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lewm_cli.control.actor import Actions, Actor, ActorEpisode, Observation

ActionSampler = Callable[[np.random.Generator], Actions]
"""Draws an action (A,) uniformly from an action space."""


@dataclass(kw_only=True)
class RandomEpisode(ActorEpisode):
    """The state of the random actor in one episode."""

    generator: np.random.Generator


class RandomActor(Actor):
    """Draws every action uniformly with the sampler of an action space."""

    def __init__(self, sample: ActionSampler) -> None:
        super().__init__()
        self._sample = sample

    def begin(self, goals: Sequence[Observation], seeds: Sequence[int]) -> Sequence[ActorEpisode]:
        """See `Actor`."""
        return [RandomEpisode(generator=np.random.default_rng(seed)) for seed in seeds]

    def act(self, episodes: Sequence[RandomEpisode], seen: Sequence[Observation]) -> Sequence[Actions]:
        """See `Actor`."""
        return [self._sample(episode.generator)[None] for episode in episodes]


class NoActionActor(RandomActor):
    """Takes no action, which is 0 in the units of the environment; the sample is only asked for its shape."""

    def act(self, episodes: Sequence[RandomEpisode], seen: Sequence[Observation]) -> Sequence[Actions]:
        """See `Actor`."""
        return [np.zeros_like(actions) for actions in super().act(episodes, seen)]
