"""References on the pairs of an evaluation: nothing done, and plans by true dynamics, so that blame can be laid."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from lewm_cli.config import EvalProtocol, ReferencesConfig
from lewm_cli.evaluate.asking import ask
from lewm_cli.evaluate.clock import Clock, TimeSplit
from lewm_cli.evaluate.costs import LatentCosts, embed_each
from lewm_cli.evaluate.fleet import Simulators
from lewm_cli.evaluate.journal import Journal
from lewm_cli.evaluate.loop import Loop, open_at_once, pair_seed, resumed
from lewm_cli.evaluate.objectives import Judge, find_judge
from lewm_cli.evaluate.pairs import Pair
from lewm_cli.evaluate.ranking import rank_plan
from lewm_cli.evaluate.reference_result import Ranking, Reference, References
from lewm_cli.evaluate.reference_settings import PlansBy, planned_by, reference_planner
from lewm_cli.evaluate.result import EvalResult
from lewm_cli.evaluate.stage import Look, Stay
from lewm_cli.evaluate.true_cost import Onward, TrueCosts
from lewm_cli.plan import PerEnvironment, Solver, find_solver
from lewm_cli.statistics import Difference, Rate
from lewm_cli.store import Run


@dataclass(frozen=True)
class Referee:
    """Measures references on the pairs of an evaluation, one after the other.

    What is drawn in planning for a pair is the same for all that plan, so that they differ in their costs alone.

    Args:
        run: what was evaluated, in eval mode on its device.
        pairs: starts and goals.
        evaluation: what was found.
        config: how much is tried.
        simulators: of the task.
    """

    run: Run
    pairs: list[Pair]
    evaluation: EvalResult
    config: ReferencesConfig
    simulators: Simulators

    @property
    def protocol(self) -> EvalProtocol:
        """That of the evaluation, with the planner of the references."""
        protocol = self.evaluation.protocol
        return protocol.model_copy(update={"planner": reference_planner(protocol.planner, self.config)})

    @property
    def planned_by(self) -> tuple[PlansBy, ...]:
        """What there is to plan by."""
        return planned_by(self.evaluation.protocol.planner, self.config)

    @cached_property
    def judge(self) -> Judge:
        """What the run judges plans by."""
        return find_judge(self.run, self.protocol.planner)

    @property
    def unsolved(self) -> list[int]:
        """Numbers of the pairs that were not solved at the start."""
        return [number for number, one in enumerate(self.evaluation.episodes) if not one.solved_at_start]

    def stand_still(self, advance: Callable[[int], None]) -> Reference:
        """Take no action.

        Args:
            advance: told the number of environment steps done since the last call, all pairs together.
        """
        begun, protocol = time.monotonic(), self.protocol
        asked = [
            self.simulators.ask(k, Stay(pair, protocol.gate, protocol.budget)) for k, pair in enumerate(self.pairs)
        ]
        reached = []
        for answer in asked:
            reached.append(bool(answer.result().found))
            advance(protocol.budget)
        return self._reference(reached, time.monotonic() - begun)

    def plan(self, by: PlansBy, advance: Callable[[int], None], journal: Journal | None = None) -> Reference:
        """Plan and follow as in the evaluation.

        Args:
            by: what plans are judged by.
            advance: told the number of environment steps done since the last call, all pairs together.
            journal: takes every episode as it ends; those that are in it are not done again.
        """
        begun, clock = resumed(journal)
        solver: Solver = find_solver(self.protocol.planner)
        if by == "model":
            costs, at_once = LatentCosts(self.judge, clock), open_at_once(self.run)
            solver = PerEnvironment(solver) if self.run.device.type == "cpu" else solver
        else:
            # One episode keeps all simulators busy, and only this thread may ask those that are in this process.
            costs, at_once = TrueCosts(self.judge, self.simulators, self.protocol.gate, by), 1
        floors = {number: one.random_success for number, one in enumerate(self.evaluation.episodes)}
        loop = Loop(self.run, self.protocol, solver, costs, self.simulators, clock, advance, at_once, floors=floors)
        episodes = loop.play(self.pairs, journal, begun)
        return self._reference([one.success for one in episodes], time.monotonic() - begun)

    def rank(self, advance: Callable[[int], None]) -> Ranking | None:
        """Follow what the run tries in its first plan for every pair, to see how well its cost ranks that.

        Args:
            advance: told the number of pairs done since the last call.
        """
        ranked = []
        for number in self.unsolved:
            pair = self.pairs[number]
            frames = self.simulators.ask(number, Look(pair)).result().frames
            start, goal = embed_each(self.run, list(frames), Clock(TimeSplit()))
            cost = self.judge.cost(start[None], goal[None])
            generator = torch.Generator().manual_seed(pair_seed(self.protocol.drawn_with, pair, stream=0))
            planner = self.protocol.planner
            plan = find_solver(planner, record=True).solve(ask(self.run, planner, cost, [generator]))
            way = Onward.of(self.run, self.simulators, self.protocol.gate, pair)
            ranked.append(rank_plan(number, plan, way))
            advance(1)
        return Ranking.of(ranked, np.array([self.pairs[one.number].episode for one in ranked])) if ranked else None

    def conclude(
        self,
        zero_action: Reference,
        model: Reference | None,
        true_latent: Reference,
        true_state: Reference,
        ranking: Ranking | None,
    ) -> References:
        """All together.

        Args:
            model: None if the evaluation was planned as the references are.
        """
        episodes = self.evaluation.episodes
        model = model or self._reference([one.success for one in episodes], seconds=0)
        return References(
            planner=self.protocol.planner,
            zero_action=zero_action,
            random=self._reference([one.random_success for one in episodes], seconds=0),
            model=model,
            true_latent=true_latent,
            true_state=true_state,
            dynamics=self._difference(true_latent.reached, model.reached),
            cost=self._difference(true_state.reached, true_latent.reached),
            ranking=ranking,
        )

    def _reference(self, reached: list[bool], seconds: float) -> Reference:
        run = [one.success for one in self.evaluation.episodes]
        return Reference(
            success=Rate.of(np.array(reached)[self.evaluation.in_headline], self._clusters),
            above_run=self._difference(reached, run),
            reached=tuple(reached),
            seconds=seconds,
        )

    def _difference(self, this: "list[bool] | tuple[bool, ...]", other: "list[bool] | tuple[bool, ...]") -> Difference:
        counted = self.evaluation.in_headline
        return Difference.of(np.array(this)[counted], np.array(other)[counted], self._clusters)

    @property
    def _clusters(self) -> np.ndarray:
        return np.array([one.episode for one in self.evaluation.counted()])
