"""Active episodes, seen from the process that plans: begun and driven on through a pool of simulators."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from lewm_cli.control import Actions, ActorEpisode, Frame
from lewm_cli.simulate.pool import SimulatorPool, gather
from lewm_cli.simulate.requests import Begin, Follow, Response
from lewm_cli.simulate.simulated_episode import EpisodeProgress, Pair


@dataclass
class ActiveEpisode:
    """An episode that has begun, and whose simulator waits for actions.

    Args:
        number: of the pair.
        pair: start and goal.
        frame: (H, W, 3) uint8, the current one.
        goal_frame: (H, W, 3) uint8.
        progress: its state.
        actions: (K, A) taken so far, in the parts in which they were chosen.
        film: frames before each step, if it is filmed.
        memory: state of the actor in it.
        baseline: success of the random actor from the same start, as soon as it is known.
    """

    number: int
    pair: Pair
    frame: Frame
    goal_frame: Frame
    progress: EpisodeProgress
    actions: list[Actions] = field(default_factory=list)
    film: list[Frame] = field(default_factory=list)
    memory: ActorEpisode = field(default_factory=ActorEpisode)
    baseline: "Future[Response] | None" = None

    @property
    def steps(self) -> int:
        """Environment steps taken."""
        return len(self.progress.path) - 1

    def ended(self, budget: int) -> bool:
        """Check that the goal is reached, or the budget used up."""
        return self.progress.first_hit is not None or self.steps >= budget


def begin_episodes(pool: SimulatorPool, pairs: Sequence[tuple[int, Pair]], criterion: str) -> list[ActiveEpisode]:
    """Begin an episode for every pair and its number, judged by a success criterion."""
    begun = gather([pool.submit(number, Begin(number, pair, criterion)) for number, pair in pairs])
    return [
        ActiveEpisode(number, pair, response.frames[0], response.frames[1], response.found)
        for (number, pair), response in zip(pairs, begun, strict=True)
    ]


def follow_actions(
    pool: SimulatorPool,
    episodes: Sequence[ActiveEpisode],
    chosen: Sequence[Actions],
    *,
    steps: int,
    budget: int,
    criterion: str,
    filming: bool,
) -> None:
    """Take chosen actions in every episode.

    Args:
        pool: simulates.
        episodes: that have not ended.
        chosen: (L, A) for each, L at least `steps`.
        steps: of them to take; the rest only shows whether a goal that was reached stays so.
        budget: environment steps of an episode.
        criterion: of success.
        filming: keep the frame before every step.
    """
    requests = []
    for episode, actions in zip(episodes, chosen, strict=True):
        taken = min(steps, budget - episode.steps)
        request = Follow(
            episode.number,
            episode.pair,
            criterion,
            np.concatenate([actions[:0], *episode.actions]),
            actions[:taken],
            actions[taken:],
            last=episode.steps + taken == budget,
            filming=filming,
        )
        requests.append((request, pool.submit(episode.number, request)))
    responses = gather([future for _, future in requests])
    for episode, (request, _), response in zip(episodes, requests, responses, strict=True):
        episode.progress = response.found
        episode.actions.append(request.actions)
        if len(response.frames):
            *seen, episode.frame = response.frames
            episode.film += seen
