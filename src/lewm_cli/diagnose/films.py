"""Films of an evaluation: some pairs planned for again, with the candidates of the plans followed in simulators."""

import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import imageio.v3 as imageio
import numpy as np
import numpy.typing as npt
import torch

from lewm_cli.config import PlannerConfig
from lewm_cli.control import Actions, Frame, PlannedEpisode, Planner
from lewm_cli.data import Dataset
from lewm_cli.evaluate import (
    Candidates,
    EpisodeResult,
    EvalResult,
    Film,
    FilmResult,
    PlanFilm,
    evaluate,
    pair_seed,
    recorded_pairs,
)
from lewm_cli.evaluate.film_result import Path, Picture
from lewm_cli.plan import Iteration, Plan, find_solver
from lewm_cli.simulate import InProcess, Pair, Rollouts, SimulatorPool
from lewm_cli.store import Run
from lewm_cli.tasks import Task

FRAMES = 8
"""Pictures per film, evenly spaced."""

DRAWN = 40
"""Candidates followed per iteration, evenly spaced by rank of cost."""

ITERATIONS = (1, 3, 10)
"""Iterations shown, and the last."""


def choose_episodes(evaluation: EvalResult, count: int) -> list[EpisodeResult]:
    """Choose the pairs worth seeing: one failure if there is one, and the longest successes; in their order."""
    failures = [one for one in evaluation.episodes if not one.success]
    successes = [one for one in evaluation.episodes if one.success and not one.solved_at_start]
    longest = sorted(successes, key=lambda one: one.first_hit or 0, reverse=True)
    chosen = [*failures[:1], *longest][:count]
    return sorted(chosen, key=lambda one: one.start_row)


def film(
    run: Run,
    task: Task,
    dataset: Dataset,
    evaluation: EvalResult,
    chosen: list[EpisodeResult],
    advance: Callable[[int], None],
    simulators: SimulatorPool | None = None,
) -> FilmResult:
    """Plan again for some pairs of an evaluation, and keep frames and candidates.

    Args:
        run: the model that was evaluated, in eval mode on its device.
        task: with a simulator.
        dataset: where the pairs come from.
        evaluation: gives protocol and seeds.
        chosen: its pairs to film, none of them solved at the start.
        advance: gets the number of environment steps done since the last call, all pairs together.
        simulators: of the task; in this process if not given.
    """
    pool = simulators or InProcess(task)
    begun, protocol = time.monotonic(), evaluation.protocol
    pairs = recorded_pairs(dataset, task, [(one.episode, one.start_row, one.goal_row) for one in chosen])
    actor, films = _FirstPlans(run, protocol.planner), list[Film]()
    again = evaluate(
        run,
        task,
        dataset,
        pairs,
        protocol,
        actor,
        held_out=evaluation.held_out,
        advance=advance,
        film=films.append,
        simulators=pool,
    )
    numbers = {(one.start_row, one.goal_row): k for k, one in enumerate(evaluation.episodes)}
    films.sort(key=lambda one: one.number)
    return FilmResult.of(
        run,
        dataset,
        held_out=evaluation.held_out,
        begun=begun,
        protocol=protocol,
        films=tuple(
            _plan_film(
                _Tracer(pool, actor, pair, protocol.gate),
                outcome,
                seen,
                actor.first[pair_seed(protocol.drawn_with, pair, stream=0)],
                numbers[outcome.start_row, outcome.goal_row],
            )
            for pair, outcome, seen in zip(pairs, again.episodes, films, strict=True)
        ),
    )


class _FirstPlans(Planner):
    """A planner that keeps the first plan of every episode, by its seed."""

    def __init__(self, run: Run, config: PlannerConfig) -> None:
        super().__init__(run, config, solver=find_solver(config, record=True))
        self.first: dict[int, Plan] = {}

    def act(self, episodes: Sequence[PlannedEpisode], frames: Sequence[Frame]) -> Sequence[Actions]:
        """See `Planner`."""
        chosen = super().act(episodes, frames)
        for episode in episodes:
            if episode.plan is not None:
                self.first.setdefault(episode.generator.initial_seed(), episode.plan)
        return chosen


@dataclass(frozen=True)
class _Tracer:
    """Follows action blocks from the start of a pair."""

    pool: SimulatorPool
    planner: Planner
    pair: Pair
    criterion: str

    def paths(self, blocks: torch.Tensor) -> tuple[Path, ...]:
        """Paths of sequences of normalized blocks (S, horizon, block_dim)."""
        return self._follow(self.pair, self.planner.actions_of(blocks))

    def goal_position(self) -> tuple[float, float]:
        """The position at the goal."""
        there = replace(self.pair, start=self.pair.goal)
        return self._follow(there, np.empty((1, 0, self.planner.run.card.inputs.actions.dim), np.float32))[0][0]

    def candidates(self, iteration: Iteration, number: int) -> Candidates:
        """Some candidates of an iteration, cheapest first."""
        costs, actions = iteration.cost[0], iteration.actions[0]
        order = costs.argsort()
        ranks = np.unique(np.linspace(0, len(order) - 1, DRAWN).astype(int))
        drawn = order[torch.from_numpy(ranks)]
        return Candidates(
            iteration=number,
            costs=tuple(costs[drawn].tolist()),
            paths=self.paths(actions[drawn]),
        )

    def _follow(self, pair: Pair, actions: Actions) -> tuple[Path, ...]:
        request = Rollouts(pair, self.criterion, actions[0, :0], actions)
        return tuple(map(_path, self.pool.submit(pair.start_row, request).result().found.paths))


def _plan_film(tracer: _Tracer, outcome: EpisodeResult, seen: Film, plan: Plan, number: int) -> PlanFilm:
    iterations = len(plan.history)
    steps = np.unique(np.linspace(0, len(seen.frames) - 1, FRAMES).astype(int))
    return PlanFilm(
        number=number,
        episode=outcome.episode,
        start_row=outcome.start_row,
        goal_row=outcome.goal_row,
        groups=outcome.groups,
        success=outcome.success,
        first_hit=outcome.first_hit,
        frame_size=seen.goal.shape[0],
        start=_picture(seen.frames[0]),
        goal=_picture(seen.goal),
        goal_position=tracer.goal_position(),
        candidates=tuple(
            tracer.candidates(plan.history[shown - 1], shown)
            for shown in sorted({min(iteration, iterations) for iteration in (*ITERATIONS, iterations)})
        ),
        plan=tracer.paths(plan.actions)[0],
        path=_path(seen.path),
        steps=tuple(steps.tolist()),
        frames=tuple(_picture(seen.frames[step]) for step in steps),
    )


def _path(positions: npt.NDArray[np.floating]) -> Path:
    return tuple((round(float(x), 1), round(float(y), 1)) for x, y in positions)


def _picture(frame: Frame) -> Picture:
    return base64.b64encode(imageio.imwrite("<bytes>", frame, extension=".png")).decode()
