"""The evaluation loop: all environments planned for in one batch, then the plans followed in the simulator."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from lewm_cli.config import EvalProtocol
from lewm_cli.data import Dataset
from lewm_cli.evaluate.pairs import Pair
from lewm_cli.evaluate.result import EpisodeResult, EvalResult
from lewm_cli.plan import LatentCost, Solver
from lewm_cli.store import Run
from lewm_cli.tasks import Simulator, Task

HELD_STEPS = 3
"""Environment steps for which a goal has to stay reached to count as held."""


@dataclass(frozen=True)
class Film:
    """What the camera saw of one pair.

    Args:
        number: of the pair.
        frames: (T, H, W, 3) uint8, from the start on.
        goal: (H, W, 3) uint8.
        path: (T, 2) positions, in pixels of the frame.
        success: whether the goal was reached.
    """

    number: int
    frames: np.ndarray
    goal: np.ndarray
    path: np.ndarray
    success: bool


def evaluate(
    run: Run,
    task: Task,
    dataset: Dataset,
    pairs: list[Pair],
    protocol: EvalProtocol,
    solver: Solver,
    *,
    held_out: bool,
    advance: Callable[[int], None],
    film: Callable[[Film], None] | None = None,
) -> EvalResult:
    """Plan from every start towards its goal, follow the plan, replan, until the budget is used up.

    What is drawn for a pair depends on the protocol's seed and the pair alone, not on the batch it is in. After the
    first hit the plan is followed for a few steps more, to see whether the goal stays reached; nothing else of the
    result knows of them.

    Args:
        run: the model, in eval mode on its device.
        task: with a simulator.
        dataset: where the pairs come from.
        pairs: starts and goals.
        protocol: budget, planner and seed.
        solver: finds the plans.
        held_out: whether none of the episodes was trained on; stored.
        advance: told the number of environment steps done since the last call, all pairs together.
        film: takes what the camera saw, pair by pair; frames are only rendered if given.
    """
    begun = time.monotonic()
    trials = [_Trial.begin(task, pair, number, protocol) for number, pair in enumerate(pairs)]
    goals = run.embed(np.stack([trial.simulator.goal_frame() for trial in trials]))
    plans, planning = 0, 0.0
    block = run.card.inputs.frameskip
    for step in range(0, protocol.budget, protocol.planner.receding * block):
        open_trials = [trial for trial in trials if trial.first_hit is None]
        if open_trials:
            goal = goals[[trial.number for trial in open_trials]]
            starts = run.embed(np.stack([trial.simulator.frame() for trial in open_trials]))
            cost = LatentCost(run.model, starts.unsqueeze(1), goal)
            plan = solver.solve(cost, run.card.inputs.block_dim, [trial.generator for trial in open_trials])
            plans, planning = plans + len(open_trials), planning + plan.seconds
            steps = min(protocol.planner.receding * block, protocol.budget - step)
            actions = plan.actions.numpy().reshape(len(open_trials), -1, run.card.inputs.actions.dim)
            for trial, sequence in zip(open_trials, run.card.inputs.actions.denormalize(actions), strict=True):
                trial.follow(sequence, steps, filming=film is not None)
                if film and trial.first_hit is not None:
                    film(trial.take_film())
        advance(len(trials) * min(protocol.planner.receding * block, protocol.budget - step))
    for trial in trials if film else ():
        if not trial.first_hit:  # those that moved and arrived have been filmed
            film(trial.take_film())
    episodes = [trial.result(protocol) for trial in trials]
    return EvalResult.summarizing(
        run,
        dataset,
        episodes,
        protocol,
        held_out=held_out,
        begun=begun,
        plans=plans,
        seconds_per_plan=planning / max(1, plans),
    )


@dataclass
class _Trial:
    """One pair in its own simulator."""

    simulator: Simulator
    pair: Pair
    number: int
    seed: int
    generator: torch.Generator
    path: list[np.ndarray]
    first_hit: int | None
    final_distance: float
    held: bool | None = None
    frames: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def begin(cls, task: Task, pair: Pair, number: int, protocol: EvalProtocol) -> "_Trial":
        simulator, seed = task.make_simulator(), protocol.drawn_with
        simulator.judge_by(protocol.gate)
        simulator.begin(pair.start, pair.goal)
        generator = torch.Generator().manual_seed(_pair_seed(seed, pair, stream=0))
        first_hit = 0 if simulator.solved() else None
        path = [simulator.position()]
        return cls(simulator, pair, number, seed, generator, path, first_hit, simulator.distance())

    def follow(self, actions: np.ndarray, steps: int, *, filming: bool) -> None:
        """Take the first `steps` of actions (K, A) until the goal is reached, and see whether it stays so."""
        for number, action in enumerate(actions[:steps], start=1):
            if filming:
                self.frames.append(self.simulator.frame())
            self.simulator.step(action)
            self.path.append(self.simulator.position())
            self.final_distance = self.simulator.distance()
            if self.simulator.solved():
                self.first_hit = len(self.path) - 1
                if filming:
                    self.frames.append(self.simulator.frame())
                self.held = self._stays(actions[number:])
                return

    def take_film(self) -> Film:
        """What the camera saw; its frames are given away, for they are large."""
        frames, self.frames = self.frames if self.first_hit else [*self.frames, self.simulator.frame()], []
        goal, path = self.simulator.goal_frame(), np.stack(self.path)
        return Film(self.number, np.stack(frames), goal, path, self.first_hit is not None)

    def result(self, protocol: EvalProtocol) -> EpisodeResult:
        """The outcome, and that of random actions from the same start (which moves the simulator)."""
        if self.first_hit == 0:  # nothing was planned
            self.held = self._stays(())
        return EpisodeResult(
            episode=self.pair.episode,
            start_row=self.pair.start_row,
            goal_row=self.pair.goal_row,
            groups=self.simulator.groups(self.pair.start, self.pair.goal),
            solved_at_start=self.first_hit == 0,
            success=self.first_hit is not None,
            first_hit=self.first_hit,
            held=self.held,
            final_distance=self.final_distance,
            route_valid=self.simulator.route_valid(np.stack(self.path)),
            random_success=self._random_success(protocol.budget),
        )

    def _stays(self, actions: Sequence[np.ndarray]) -> bool:
        """Whether the goal stays reached while what is left of the plan is followed, and after it nothing done."""
        nothing = np.zeros_like(self.simulator.random_action(np.random.default_rng(self.seed)))
        for action in [*actions[:HELD_STEPS], *[nothing] * HELD_STEPS][:HELD_STEPS]:
            self.simulator.step(action)
            if not self.simulator.solved():
                return False
        return True

    def _random_success(self, budget: int) -> bool:
        generator = np.random.default_rng(_pair_seed(self.seed, self.pair, stream=1))
        self.simulator.begin(self.pair.start, self.pair.goal)
        for _ in range(budget):
            if self.simulator.solved():
                return True
            self.simulator.step(self.simulator.random_action(generator))
        return self.simulator.solved()


def _pair_seed(seed: int, pair: Pair, stream: int) -> int:
    sequence = np.random.SeedSequence([seed, pair.start_row, pair.goal_row, stream])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
