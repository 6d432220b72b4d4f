"""Filming an evaluation: some of its pairs planned for again, with what the planner tried followed in the simulator."""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import imageio.v3 as imageio
import numpy as np
import torch

from lewm_cli.data import Dataset
from lewm_cli.evaluate.evaluate import Film, evaluate
from lewm_cli.evaluate.film_result import Candidates, FilmResult, Path, Picture, PlanFilm
from lewm_cli.evaluate.pairs import Pair, recorded_pairs
from lewm_cli.evaluate.result import EpisodeResult, EvalResult
from lewm_cli.plan import CEM, Iteration, LatentCost, Plan
from lewm_cli.store import Run
from lewm_cli.tasks import Simulator, Task

FRAMES = 8
"""Pictures per film, evenly spaced."""

DRAWN = 40
"""Candidates followed per iteration, evenly spaced by rank of cost."""

ITERATIONS = (1, 3, 10)
"""Iterations shown, and the last."""


def choose_episodes(evaluation: EvalResult, count: int) -> list[EpisodeResult]:
    """The pairs worth seeing: one failure if there is one, and the successes that took longest, in their order."""
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
) -> FilmResult:
    """Plan again for some pairs of an evaluation, and keep what the camera saw and what the planner tried.

    Args:
        run: the model that was evaluated, in eval mode on its device.
        task: with a simulator.
        dataset: where the pairs come from.
        evaluation: gives protocol and seeds.
        chosen: its pairs to film, none of them solved at the start.
        advance: told the number of environment steps done since the last call, all pairs together.
    """
    begun = time.monotonic()
    pairs = recorded_pairs(dataset, task, [(one.episode, one.start_row, one.goal_row) for one in chosen])
    solver, films = _FirstPlan(CEM(evaluation.protocol.planner, remember=True)), []
    again = evaluate(
        run,
        task,
        dataset,
        pairs,
        evaluation.protocol,
        solver,
        held_out=evaluation.held_out,
        advance=advance,
        film=films.append,
    )
    simulator, numbers = task.make_simulator(), {one.start_row: k for k, one in enumerate(evaluation.episodes)}
    return FilmResult.of(
        run,
        dataset,
        held_out=evaluation.held_out,
        begun=begun,
        protocol=evaluation.protocol,
        films=tuple(
            _plan_film(_Follower(simulator, run, pair), outcome, seen, solver.plans[0], numbers[outcome.start_row])
            for pair, outcome, seen in zip(
                pairs, again.episodes, sorted(films, key=lambda one: one.number), strict=True
            )
        ),
    )


@dataclass
class _FirstPlan:
    """A solver that hands out its plans and keeps them."""

    solver: CEM
    plans: list[Plan] = field(default_factory=list)

    def solve(self, cost: LatentCost, block_dim: int, generators: list[torch.Generator]) -> Plan:
        self.plans.append(self.solver.solve(cost, block_dim, generators))
        return self.plans[-1]


@dataclass(frozen=True)
class _Follower:
    """Follows action blocks from the start of a pair."""

    simulator: Simulator
    run: Run
    pair: Pair

    def path(self, blocks: torch.Tensor) -> Path:
        """Where normalized blocks (horizon, block_dim) lead."""
        inputs = self.run.card.inputs
        self.simulator.begin(self.pair.start, self.pair.goal)
        positions = [self.simulator.position()]
        for action in inputs.actions.denormalize(blocks.numpy().reshape(-1, inputs.actions.dim)):
            self.simulator.step(action)
            positions.append(self.simulator.position())
        return _path(np.stack(positions))

    def candidates(self, iteration: Iteration, number: int, environment: int) -> Candidates:
        """Some candidates of an iteration, cheapest first."""
        order = iteration.cost[environment].argsort()
        ranks = np.unique(np.linspace(0, len(order) - 1, DRAWN).astype(int))
        drawn = order[torch.from_numpy(ranks)]
        return Candidates(
            iteration=number,
            costs=tuple(iteration.cost[environment, drawn].tolist()),
            paths=tuple(self.path(blocks) for blocks in iteration.actions[environment, drawn]),
        )


def _plan_film(follower: _Follower, outcome: EpisodeResult, seen: Film, plan: Plan, number: int) -> PlanFilm:
    environment, tried = seen.number, len(plan.history)
    steps = np.unique(np.linspace(0, len(seen.frames) - 1, FRAMES).astype(int))
    follower.simulator.begin(follower.pair.goal, follower.pair.goal)
    goal_position = follower.simulator.position()
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
        goal_position=_path(goal_position[None])[0],
        candidates=tuple(
            follower.candidates(plan.history[shown - 1], shown, environment)
            for shown in sorted({min(iteration, tried) for iteration in (*ITERATIONS, tried)})
        ),
        plan=follower.path(plan.actions[environment]),
        path=_path(seen.path),
        steps=tuple(steps.tolist()),
        frames=tuple(_picture(seen.frames[step]) for step in steps),
    )


def _path(positions: np.ndarray) -> Path:
    return tuple((round(float(x), 1), round(float(y), 1)) for x, y in positions)


def _picture(frame: np.ndarray) -> Picture:
    return base64.b64encode(imageio.imwrite("<bytes>", frame, extension=".png")).decode()
