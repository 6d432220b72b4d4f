"""Actors that look at nothing: random actions, no action, recorded actions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lewm_cli.control.actor import Actions, Actor, ActorEpisode, Frame

ActionSampler = Callable[[np.random.Generator], Actions]
"""Draws an action (A,) uniformly from an action space."""


@dataclass(kw_only=True)
class _RandomEpisode(ActorEpisode):
    generator: np.random.Generator


class RandomActor(Actor):
    """Draws every action uniformly.

    Args:
        sample: of the action space.
    """

    def __init__(self, sample: ActionSampler) -> None:
        super().__init__()
        self._sample = sample

    def begin(self, goals: Sequence[Frame], seeds: Sequence[int]) -> Sequence[_RandomEpisode]:
        """See `Actor`."""
        return [_RandomEpisode(generator=np.random.default_rng(seed)) for seed in seeds]

    def act(self, episodes: Sequence[_RandomEpisode], frames: Sequence[Frame]) -> Sequence[Actions]:
        """See `Actor`."""
        return [self._sample(episode.generator)[None] for episode in episodes]


class NoActionActor(Actor):
    """Takes no action, which is 0 in the units of the environment.

    Args:
        sample: of the action space, for its shape.
    """

    def __init__(self, sample: ActionSampler) -> None:
        super().__init__()
        self._nothing = np.zeros_like(sample(np.random.default_rng(0)))[None]

    def begin(self, goals: Sequence[Frame], seeds: Sequence[int]) -> Sequence[ActorEpisode]:
        """See `Actor`."""
        return [ActorEpisode() for _ in seeds]

    def act(self, episodes: Sequence[ActorEpisode], frames: Sequence[Frame]) -> Sequence[Actions]:
        """See `Actor`."""
        return [self._nothing for _ in episodes]


@dataclass(kw_only=True)
class _RecordedEpisode(ActorEpisode):
    rest: Actions


class RecordedActor(Actor):
    """Replays recorded actions, then takes none.

    Args:
        recorded: actions (L, A) by the seed of the episode.
    """

    def __init__(self, recorded: Mapping[int, Actions]) -> None:
        super().__init__()
        self._recorded = recorded

    def begin(self, goals: Sequence[Frame], seeds: Sequence[int]) -> Sequence[_RecordedEpisode]:
        """See `Actor`."""
        return [_RecordedEpisode(rest=self._recorded[seed]) for seed in seeds]

    def act(self, episodes: Sequence[_RecordedEpisode], frames: Sequence[Frame]) -> Sequence[Actions]:
        """See `Actor`."""
        chosen = [np.concatenate([one.rest, np.zeros_like(one.rest, shape=(1, one.rest.shape[1]))]) for one in episodes]
        for episode in episodes:
            episode.rest = episode.rest[self.steps :]
        return chosen
