"""Filming an evaluation: some of its pairs planned for again, with what the planner tried followed in the simulator."""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import imageio.v3 as imageio
import numpy as np
import torch

from lewm_cli.data import Dataset
from lewm_cli.evaluate.evaluate import evaluate
from lewm_cli.evaluate.film_result import Candidates, FilmResult, Path, Picture, PlanFilm
from lewm_cli.evaluate.fleet import Here, Simulators
from lewm_cli.evaluate.loop import Film, pair_seed
from lewm_cli.evaluate.pairs import Pair, recorded_pairs
from lewm_cli.evaluate.result import EpisodeResult, EvalResult
from lewm_cli.evaluate.stage import Trace
from lewm_cli.plan import Iteration, Plan, Problem, Solver, find_solver
from lewm_cli.store import Run
from lewm_cli.tasks import Task

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
    simulators: Simulators | None = None,
) -> FilmResult:
    """Plan again for some pairs of an evaluation, and keep what the camera saw and what the planner tried.

    Args:
        run: the model that was evaluated, in eval mode on its device.
        task: with a simulator.
        dataset: where the pairs come from.
        evaluation: gives protocol and seeds.
        chosen: its pairs to film, none of them solved at the start.
        advance: told the number of environment steps done since the last call, all pairs together.
        simulators: of the task; in this process if not given.
    """
    simulators = simulators or Here(task)
    begun = time.monotonic()
    pairs = recorded_pairs(dataset, task, [(one.episode, one.start_row, one.goal_row) for one in chosen])
    solver, films = _FirstPlan(find_solver(evaluation.protocol.planner, record=True)), []
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
        simulators=simulators,
    )
    numbers = {(one.start_row, one.goal_row): k for k, one in enumerate(evaluation.episodes)}
    seeds = [pair_seed(evaluation.protocol.drawn_with, pair, stream=0) for pair in pairs]
    return FilmResult.of(
        run,
        dataset,
        held_out=evaluation.held_out,
        begun=begun,
        protocol=evaluation.protocol,
        films=tuple(
            _plan_film(
                _Follower(simulators, run, pair, evaluation.protocol.gate),
                outcome,
                seen,
                solver.first[seed],
                numbers[outcome.start_row, outcome.goal_row],
            )
            for pair, seed, outcome, seen in zip(
                pairs, seeds, again.episodes, sorted(films, key=lambda one: one.number), strict=True
            )
        ),
    )


@dataclass
class _FirstPlan:
    """A solver that keeps the first plan for every environment, by the seed of its generator."""

    solver: Solver
    first: dict[int, Plan] = field(default_factory=dict)

    def solve(self, problem: Problem) -> Plan:
        plan = self.solver.solve(problem)
        for number, generator in enumerate(problem.generators):
            self.first.setdefault(generator.initial_seed(), plan.of(number))
        return plan


@dataclass(frozen=True)
class _Follower:
    """Follows action blocks from the start of a pair."""

    simulators: Simulators
    run: Run
    pair: Pair
    gate: str

    def paths(self, blocks: torch.Tensor) -> tuple[Path, ...]:
        """Where sequences of normalized blocks (S, horizon, block_dim) lead."""
        inputs = self.run.card.inputs
        actions = inputs.actions.denormalize(blocks.numpy().reshape(len(blocks), -1, inputs.actions.dim))
        traced = self.simulators.ask(self.pair.start_row, Trace(self.pair, self.gate, actions))
        return tuple(map(_path, traced.result().found))

    def goal_position(self) -> tuple[float, float]:
        """Where the goal is."""
        there = replace(self.pair, start=self.pair.goal)
        nothing = np.empty((1, 0, self.run.card.inputs.actions.dim), np.float32)
        return _path(self.simulators.ask(self.pair.start_row, Trace(there, self.gate, nothing)).result().found[0])[0]

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


def _plan_film(follower: _Follower, outcome: EpisodeResult, seen: Film, plan: Plan, number: int) -> PlanFilm:
    tried = len(plan.history)
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
        goal_position=follower.goal_position(),
        candidates=tuple(
            follower.candidates(plan.history[shown - 1], shown)
            for shown in sorted({min(iteration, tried) for iteration in (*ITERATIONS, tried)})
        ),
        plan=follower.paths(plan.actions)[0],
        path=_path(seen.path),
        steps=tuple(steps.tolist()),
        frames=tuple(_picture(seen.frames[step]) for step in steps),
    )


def _path(positions: np.ndarray) -> Path:
    return tuple((round(float(x), 1), round(float(y), 1)) for x, y in positions)


def _picture(frame: np.ndarray) -> Picture:
    return base64.b64encode(imageio.imwrite("<bytes>", frame, extension=".png")).decode()
