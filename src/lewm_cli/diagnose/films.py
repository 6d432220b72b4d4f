"""Films of an evaluation: some pairs planned for again, with the candidates of the plans followed in simulators."""

import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import imageio.v3 as imageio
import numpy as np
import numpy.typing as npt
import torch
from pydantic import NonNegativeInt

from lewm_cli.config import EvalProtocol, PlannerConfig, Section
from lewm_cli.control import Actions, Clock, Frame, Observation, PlannedEpisode, Planner
from lewm_cli.data import Dataset
from lewm_cli.diagnose.true_cost import TrueRollout
from lewm_cli.evaluate import EpisodeResult, EvalResult, EvaluationLoop, Film, pair_seed, recorded_pairs
from lewm_cli.plan import Iteration, Plan, find_solver
from lewm_cli.simulate import InProcess, SimulatorPool
from lewm_cli.store import Measurement, Run
from lewm_cli.tasks import Task

FRAMES = 8
"""Pictures per film, evenly spaced."""

DRAWN = 40
"""Candidates followed per iteration, evenly spaced by rank of cost."""

ITERATIONS = (1, 3, 10)
"""Iterations shown, and the last."""

Picture = str
"""A frame as a base64 PNG."""

Path = tuple[tuple[float, float], ...]
"""Positions x, y in pixels of the frame, one per environment step, the first one included."""


class Candidates(Section):
    """Some candidates of one iteration of the planner, by latent cost, each followed in the simulator."""

    iteration: NonNegativeInt
    """From 1."""
    costs: tuple[float, ...]
    paths: tuple[Path, ...]


class PlanFilm(Section):
    """One pair: its first plan as it came to be, then how the episode went."""

    number: NonNegativeInt
    """Number of the pair in the evaluation."""
    episode: int
    start_row: int
    goal_row: int
    groups: tuple[str, ...]
    success: bool
    first_hit: int | None
    frame_size: int
    """Side of a frame, pixels, which positions refer to."""
    start: Picture
    goal: Picture
    goal_position: tuple[float, float]
    candidates: tuple[Candidates, ...]
    plan: Path
    """The way that the chosen plan leads in the simulator."""
    path: Path
    """The way of the agent until the goal was reached or the budget was used up."""
    steps: tuple[int, ...]
    frames: tuple[Picture, ...]
    """The view of the camera at these environment steps."""


class FilmResult(Measurement):
    """Some pairs of an evaluation, filmed."""

    protocol: EvalProtocol
    films: tuple[PlanFilm, ...]


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
        chosen: pairs of the evaluation, none of them solved at the start.
        advance: gets the number of environment steps done since the last call, all pairs together.
        simulators: of the task; in this process if not given.
    """
    pool = simulators or InProcess(task)
    begun, protocol = time.monotonic(), evaluation.protocol
    pairs = recorded_pairs(dataset, task, [(one.episode, one.start_row, one.goal_row) for one in chosen])
    actor, films = _FirstPlans(run, protocol.planning), list[Film]()
    baselines = {number: one.random_success for number, one in enumerate(chosen)}
    outcomes = EvaluationLoop(protocol, actor, pool, Clock(), advance, films.append, baselines).play(pairs, None, begun)
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
                TrueRollout.from_start(run, pool, protocol.gate, pair),
                outcome,
                seen,
                actor.first[pair_seed(protocol.drawn_with, pair, stream=0)],
                numbers[outcome.start_row, outcome.goal_row],
            )
            for pair, outcome, seen in zip(pairs, outcomes, films, strict=True)
        ),
    )


class _FirstPlans(Planner):
    """A planner that keeps the first plan of every episode, by its seed."""

    def __init__(self, run: Run, config: PlannerConfig) -> None:
        super().__init__(run, config, solver=find_solver(config, record=True))
        self.first: dict[int, Plan] = {}

    def act(self, episodes: Sequence[PlannedEpisode], seen: Sequence[Observation]) -> Sequence[Actions]:
        """See `Planner`."""
        chosen = super().act(episodes, seen)
        for episode in episodes:
            if episode.plan is not None:
                self.first.setdefault(episode.generator.initial_seed(), episode.plan)
        return chosen


def _plan_film(rollout: TrueRollout, outcome: EpisodeResult, seen: Film, plan: Plan, number: int) -> PlanFilm:
    at_goal = replace(rollout, pair=replace(rollout.pair, start=rollout.pair.goal))
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
        goal_position=_paths(at_goal, plan.actions[:, :0])[0][0],
        candidates=tuple(
            _candidates(rollout, plan.history[shown - 1], shown)
            for shown in sorted({min(iteration, iterations) for iteration in (*ITERATIONS, iterations)})
        ),
        plan=_paths(rollout, plan.actions)[0],
        path=_path(seen.path),
        steps=tuple(steps.tolist()),
        frames=tuple(_picture(seen.frames[step]) for step in steps),
    )


def _candidates(rollout: TrueRollout, iteration: Iteration, number: int) -> Candidates:
    """Some candidates of an iteration, cheapest first."""
    costs, actions = iteration.cost[0], iteration.actions[0]
    order = costs.argsort()
    ranks = np.unique(np.linspace(0, len(order) - 1, DRAWN).astype(int))
    drawn = order[torch.from_numpy(ranks)]
    return Candidates(iteration=number, costs=tuple(costs[drawn].tolist()), paths=_paths(rollout, actions[drawn]))


def _paths(rollout: TrueRollout, blocks: torch.Tensor) -> tuple[Path, ...]:
    """Paths of sequences of normalized blocks (S, horizon, block_dim)."""
    return tuple(map(_path, rollout.follow(blocks).paths))


def _path(positions: npt.NDArray[np.floating]) -> Path:
    return tuple((round(float(x), 1), round(float(y), 1)) for x, y in positions)


def _picture(frame: Frame) -> Picture:
    return base64.b64encode(imageio.imwrite("<bytes>", frame, extension=".png")).decode()
