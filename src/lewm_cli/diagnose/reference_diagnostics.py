"""References on the pairs of an evaluation: no action, and plans by true dynamics. They show what holds a run back."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import spearmanr

from lewm_cli.config import EvalProtocol, Layer, PlannerConfig, ReferencesConfig, Section, merge_layers
from lewm_cli.control import NoActionActor, Planner
from lewm_cli.diagnose.true_cost import PlansBy, TruePlanner, TrueRollout
from lewm_cli.evaluate import (
    EvalResult,
    EvaluationLoop,
    Journal,
    RankedPair,
    Ranking,
    Reference,
    References,
    pair_seed,
    resume_clock,
)
from lewm_cli.plan import Plan, find_solver
from lewm_cli.simulate import Pair, Render, RunActor, SimulatorPool
from lewm_cli.statistics import Difference, Rate
from lewm_cli.store import Run
from lewm_cli.tasks import Task


class ReferencesSettings(Section):
    """The settings of references."""

    references: ReferencesConfig = ReferencesConfig()


def find_references(task: Task, settings: tuple[Layer, ...]) -> ReferencesConfig:
    """Read how much a task's references try, and lay settings like `references.candidates` over it.

    Raises:
        UsageError: settings of something else, or that cannot mean anything.
    """
    own = {"references": task.references}
    merged = merge_layers([Layer(f"references of {task.name}", own), *settings])
    return ReferencesSettings.build(merged.tree, merged.source).references


def reference_planner(planner: PlannerConfig, config: ReferencesConfig) -> PlannerConfig:
    """Build the planner of the references: the cross-entropy method with their effort and the protocol's horizons."""
    return PlannerConfig(
        solver="cem",
        candidates=config.candidates,
        elites=config.elites,
        iterations=config.iterations,
        horizon=planner.horizon,
        receding=planner.receding,
        std=planner.std,
        result=planner.result,
        bounds=planner.bounds,
        precision=planner.precision,
        history=planner.history,
        objective=planner.objective,
    )


def planned_by(planner: PlannerConfig, config: ReferencesConfig) -> tuple[PlansBy, ...]:
    """List the costs that references plan by; not the model where it has planned like this already."""
    every: tuple[PlansBy, ...] = get_args(PlansBy)
    return every[1:] if reference_planner(planner, config) == planner else every


@dataclass(frozen=True)
class ReferenceDiagnostics:
    """Measures references on the pairs of an evaluation, one after the other.

    The random numbers of planning for a pair are the same for all that plan, so that they differ in their costs alone.

    Args:
        run: was evaluated, in eval mode on its device.
        evaluation: of it on these pairs.
        config: the effort of the references.
    """

    run: Run
    pairs: list[Pair]
    evaluation: EvalResult
    config: ReferencesConfig
    pool: SimulatorPool

    @property
    def protocol(self) -> EvalProtocol:
        """The protocol of the evaluation, with the planner of the references."""
        protocol = self.evaluation.protocol
        return protocol.model_copy(update={"planner": reference_planner(protocol.planning, self.config)})

    @property
    def unsolved(self) -> list[int]:
        """Numbers of the pairs that were not solved at the start."""
        return [number for number, one in enumerate(self.evaluation.episodes) if not one.solved_at_start]

    def no_action(self, advance: Callable[[int], None]) -> Reference:
        """Take no action; `advance` gets the number of environment steps done since the last call."""
        begun, protocol = time.monotonic(), self.protocol
        requests = [RunActor(pair, protocol.gate, protocol.budget, NoActionActor) for pair in self.pairs]
        responses = [self.pool.submit(number, request) for number, request in enumerate(requests)]
        reached = []
        for response in responses:
            reached.append(bool(response.result().found))
            advance(protocol.budget)
        return self._reference(reached, time.monotonic() - begun)

    def plan(self, by: PlansBy, advance: Callable[[int], None], journal: Journal | None = None) -> Reference:
        """Plan by a cost, and act as in the evaluation; see `EvaluationLoop`."""
        begun, clock = resume_clock(journal)
        planner, criterion = self.protocol.planning, self.protocol.gate
        actor = Planner(self.run, planner)
        if by != "model":
            pairs = {self._seed(pair): pair for pair in self.pairs}
            actor = TruePlanner(self.run, planner, self.pool, criterion, pairs, by)
        baselines = {number: one.random_success for number, one in enumerate(self.evaluation.episodes)}
        loop = EvaluationLoop(self.protocol, actor, self.pool, clock, advance, baselines=baselines)
        episodes = loop.play(self.pairs, journal, begun)
        return self._reference([one.success for one in episodes], time.monotonic() - begun)

    def rank(self, advance: Callable[[int], None]) -> Ranking | None:
        """Follow the candidates of the run's first plan for every pair, to see how well its cost ranks them."""
        planner = self.protocol.planning
        actor, ranked = Planner(self.run, planner, solver=find_solver(planner, record=True)), []
        for number in self.unsolved:
            pair = self.pairs[number]
            start, goal = self.pool.submit(number, Render(pair)).result().seen
            (episode,) = actor.begin([goal], [self._seed(pair)])
            actor.act([episode], [start])
            assert episode.plan is not None
            rollout = TrueRollout.from_start(self.run, self.pool, self.protocol.gate, pair)
            ranked.append(rank_plan(number, episode.plan, rollout))
            advance(1)
        return Ranking.of(ranked, np.array([self.pairs[one.number].episode for one in ranked])) if ranked else None

    def result(
        self,
        no_action: Reference,
        model: Reference | None,
        true_latent: Reference,
        true_state: Reference,
        ranking: Ranking | None,
    ) -> References:
        """Put all together; `model` is None if the evaluation was planned as the references are."""
        episodes = self.evaluation.episodes
        model = model or self._reference([one.success for one in episodes], seconds=0)
        return References(
            planner=self.protocol.planning,
            zero_action=no_action,
            random=self._reference([one.random_success for one in episodes], seconds=0),
            model=model,
            true_latent=true_latent,
            true_state=true_state,
            dynamics=self._difference(true_latent.reached, model.reached),
            cost=self._difference(true_state.reached, true_latent.reached),
            ranking=ranking,
        )

    def _seed(self, pair: Pair) -> int:
        return pair_seed(self.protocol.drawn_with, pair, stream=0)

    def _reference(self, reached: list[bool], seconds: float) -> Reference:
        run = [one.success for one in self.evaluation.episodes]
        return Reference(
            success=Rate.of(np.array(reached)[self.evaluation.in_headline], self._clusters),
            above_run=self._difference(reached, run),
            reached=tuple(reached),
            seconds=seconds,
        )

    def _difference(self, this: Sequence[bool], other: Sequence[bool]) -> Difference:
        counted = self.evaluation.in_headline
        return Difference.of(np.array(this)[counted], np.array(other)[counted], self._clusters)

    @property
    def _clusters(self) -> npt.NDArray[np.int_]:
        return np.array([one.episode for one in self.evaluation.counted()])


def rank_plan(number: int, plan: Plan, rollout: TrueRollout) -> RankedPair:
    """Compare the ranking of a recorded plan's candidates by cost with the ranking by where they lead."""
    first, last = plan.history[0], plan.history[-1]
    distances = rollout.follow(torch.cat([first.actions[0], last.actions[0], plan.actions])).distances
    count = first.cost.shape[1]
    return RankedPair(
        number=number,
        first=_spearman(first.cost[0].numpy(), distances[:count]),
        last=_spearman(last.cost[0].numpy(), distances[count:-1]),
        distance=distances[-1],
        least=distances.min(),
    )


def _spearman(costs: npt.NDArray[np.floating], distances: npt.NDArray[np.floating]) -> float | None:
    """Rank correlation; None where one of them does not differ."""
    if np.ptp(costs) == 0 or np.ptp(distances) == 0:
        return None
    return float(spearmanr(costs, distances).statistic)
