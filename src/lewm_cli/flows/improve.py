"""Improve the planner of a run: fit what may help, choose on some held-out pairs, and measure the gain on others."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from lewm_cli.config import EvalProtocol, Layer, PlannerConfig
from lewm_cli.control import Clock, find_protocol_actor, settle_planner
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.evaluate import (
    HELD_OUT,
    EvaluationLoop,
    ImproveResult,
    PairSet,
    PlannerChoice,
    Trials,
    TriedPlanner,
    choose_pairs,
    count_plans,
    find_protocol,
    redraw,
    submit_random,
)
from lewm_cli.flows import Progress, stopped_with
from lewm_cli.flows.anchors import prepare_anchors
from lewm_cli.flows.evaluate import simulated_task
from lewm_cli.flows.fit import FEWEST_TESTED, fit_loaded
from lewm_cli.flows.planned import Planned
from lewm_cli.flows.results import keep_result, try_keeping
from lewm_cli.flows.unseen import UnseenEpisodes, find_unseen
from lewm_cli.heads import find_head
from lewm_cli.model import resolve_device
from lewm_cli.plural import counted
from lewm_cli.simulate import SimulatorPool, gather, simulator_pool
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, Run, Say, load_run
from lewm_cli.suggestion import command
from lewm_cli.tasks import Task
from lewm_cli.workers import available_cores

OFFSETS = (25, 50, 75, 100)
"""Environment steps from start to goal."""

VALIDATED, TESTED = 40, 100
"""Pairs of every distance to choose by and to test on, if there are so many."""

PRIOR_ALONE = "the prior alone"
"""Name of what acts without planning, which planning has to beat."""


def improve_run(
    home: Home,
    name: str,
    say: Say,
    progress: Progress,
    *,
    validation: str | None = None,
    dataset: str | None = None,
    episodes: int | None = None,
    offsets: Sequence[int] = OFFSETS,
    seed: int = 42,
    workers: int | None = None,
    device: str = "auto",
    external: ExternalWeights = NO_OPTIONS,
) -> tuple[ImproveResult, Path]:
    """Choose among latent distance, reachability, prior and anchors, then the least effort that loses nothing.

    The result is stored under `<run>.run/results/`, and holds the run's planner from then on. Heads are fitted where
    there are none for the present weights.

    Args:
        validation: recording whose pairs are chosen by; the one that the run was trained on if not given.
        dataset: recording whose pairs are tested on, likewise. Of one recording, half of the episodes are for each.
        episodes: test pairs of every distance; 100, or as many as there are, if not given.
        offsets: environment steps from start to goal.
        seed: of the split into halves, of pairs and of planning.
        workers: processes that simulate; all cores if not given. Does not change the result.

    Raises:
        LewmError: no such run or recording, no simulator, a policy, no held-out episodes or too few that are long
            enough, or recordings that share episodes.
        StoppedError: Ctrl-C or SIGTERM; heads that were fitted are kept.
    """
    begun, on = time.monotonic(), resolve_device(device)
    run = load_run(home, name, on, external=external, say=say)
    run.require_world_model("there is no planner to improve")
    task = simulated_task(run, "no planner can be tried")
    try_keeping(home, run)
    protocol = find_protocol(task, HELD_OUT, (Layer.of("--seed", "seed", seed),))
    to_choose, to_test = _find_episodes(home, run, task, validation, dataset, seed, say)
    chosen_by = _plan(task, protocol, to_choose, offsets, VALIDATED, "--validation", say)
    tested_on = _plan(task, protocol, to_test, offsets, episodes or TESTED, "--dataset", say, exactly=bool(episodes))
    base = settle_planner(run, protocol.planning)
    assert base is not None
    protocol = protocol.model_copy(update={"planner": base})
    choices = _choices(PlannerChoice.of(base), run.card.dataset.name)
    again = command("improve", run.name)
    with stopped_with(lambda: f"stopped; heads and anchors that are complete are kept, and {again} begins with them"):
        with_all, measured = choices[-1].planner(base), (*chosen_by, *tested_on)
        prepare_anchors(home, run, with_all, say, progress, measured, f"name another recording than {with_all.anchors}")
        for kind in ("reach", "prior"):
            _fit_missing(home, run, kind, say, progress)
        if on.type == "cpu":
            torch.set_num_threads(1)  # the planner brings its own threads
        pairs = max(len(one.pairs) for one in (*chosen_by, *tested_on))
        workers = min(available_cores() if workers is None else workers, pairs)
        with simulator_pool(task, workers, say) as pool:
            for planned in {one[0].dataset.name: one[0] for one in (chosen_by, tested_on)}.values():
                redraw(pool, task, planned.dataset, planned.pairs, say)
            trying = _Trying(run, base, pool, progress, "validation", chosen_by)
            for choice in choices:
                if trying.add(choice).rate == 1:  # no other can reach more
                    break
            best = trying.trials.best()
            chosen = _cheapest(trying, best) if best else None
            testing = _Trying(run, base, pool, progress, "test", tested_on)
            controls = {**chosen.controls, PRIOR_ALONE: None} if chosen else {}
            for each in (choices[0], chosen, *controls.values()) if chosen else ():
                testing.add(each)
    tested = testing.trials if chosen else None
    result = ImproveResult.of(
        run,
        to_test.dataset,
        held_out=to_choose.held_out and to_test.held_out,
        begun=begun,
        protocol=protocol,
        validation=trying.trials,
        chosen=chosen,
        test=tested,
        gains=tuple(ImproveResult.gained(tested, list(controls))) if tested else (),
        seconds_per_plan_before=tested.tried[0].seconds_per_plan if tested else None,
        seconds_per_plan_now=tested.tried[1].seconds_per_plan if tested else None,
    )
    return result, keep_result(home, run, "improve", result)


def _choices(plain: PlannerChoice, recording: str) -> list[PlannerChoice]:
    """All choices of the protocol's effort, those that change less of it before others; its own is the first."""
    parts = {"objective": "reach", "prior": True, "anchors": recording}
    chosen = (some for count in range(len(parts) + 1) for some in combinations(parts, count))
    return [plain.changed(**{part: parts[part] for part in some}) for some in chosen]


def _cheapest(trying: "_Trying", best: TriedPlanner) -> PlannerChoice:
    """Halve the iterations of a planner for as long as it reaches no fewer goals, and is better still."""
    assert best.choice is not None
    cheapest = best.choice
    while cheapest.iterations > 1:
        half = trying.add(cheapest.changed(iterations=cheapest.iterations // 2))
        if half.rate < best.rate or not trying.trials.better(half):
            break
        assert half.choice is not None
        cheapest = half.choice
    return cheapest


def _fit_missing(home: Home, run: Run, kind: str, say: Say, progress: Progress) -> None:
    """Fit a head, unless there is one of the present weights."""
    try:
        head = find_head(run, kind)
    except LewmError:  # missing, damaged, or of other weights
        say(f"fitting: {kind}")
        run.use_threads()
        fit, path = fit_loaded(home, run, kind, say, progress)
        say(f"fitted: {kind}, {fit.summary}; stored: {path}")
    else:
        say(f"fitted already: {kind}, {head.path}")


def _find_episodes(
    home: Home, run: Run, task: Task, validation: str | None, dataset: str | None, seed: int, say: Say
) -> tuple[UnseenEpisodes, UnseenEpisodes]:
    """Find episodes to choose by and others to test on, none of which the run was trained on."""
    to_choose = _find_unseen(home, run, task, validation, say)
    to_test = to_choose if dataset == validation else _find_unseen(home, run, task, dataset, say)
    recording = to_choose.dataset
    if recording.identity.fingerprint == to_test.dataset.identity.fingerprint:
        mixed = np.random.default_rng(seed).permutation(to_choose.episodes)
        first, second = (np.sort(half) for half in np.array_split(mixed, 2))
        say(f"episodes: {len(first)} of these to choose by, the other {len(second)} to test on")
        return (
            UnseenEpisodes(recording, first, to_choose.held_out),
            UnseenEpisodes(recording, second, to_choose.held_out),
        )
    chosen_by, tested_on = ({one.dataset.episode_digests[k] for k in one.episodes} for one in (to_choose, to_test))
    if shared := len(chosen_by & tested_on):
        raise LewmError(
            f"{recording.name} and {to_test.dataset.name} share {counted(shared, 'episode')}, and what was chosen by "
            "them must not be tested on them; name another recording with --dataset"
        )
    return to_choose, to_test


def _find_unseen(home: Home, run: Run, task: Task, name: str | None, say: Say) -> UnseenEpisodes:
    """Find episodes that the run was not trained on; of a named recording it is enough that nobody knows it was."""
    own = run.card.dataset.name
    try:
        found = find_unseen(home, run, task, name or own, say)
    except MissingError as error:
        if name:
            raise
        raise MissingError(
            f"{run.name} was trained on {own}, and {error}; name others with --validation and --dataset"
        ) from error
    if not found.held_out and (name is None or run.card.provenance):
        known = "was trained on clips of all episodes of" if run.card.provenance else "may have been trained on all of"
        record = command("collect", task.name, "--episodes", 200, "--seed", 1, "--name", f"{task.name}/others")
        raise LewmError(
            f"{run.name} {known} {found.dataset.name}, so none is left to choose by; record others ({record}), "
            f"and name them: --validation {task.name}/others --dataset {task.name}/others"
        )
    return found


def _plan(
    task: Task,
    protocol: EvalProtocol,
    among: UnseenEpisodes,
    offsets: Sequence[int],
    most: int,
    option: str,
    say: Say,
    *,
    exactly: bool = False,
) -> list[Planned]:
    """Draw pairs of every distance, at most so many, or exactly so many."""
    dataset, lengths = among.dataset, np.sort(among.dataset.lengths[among.episodes])
    purpose = "to choose by" if option == "--validation" else "to test on"
    farthest = int(lengths[-FEWEST_TESTED]) - 1 if len(lengths) >= FEWEST_TESTED else 0
    if farthest < 1:
        raise LewmError(
            f"{dataset.name} has {counted(len(lengths), 'episode')} {purpose}, and it takes {FEWEST_TESTED} or more; "
            f"record more and name them with {option}"
        )
    if max(offsets) > farthest:
        nearer = ",".join(map(str, [offset for offset in offsets if offset <= farthest] or [farthest]))
        raise LewmError(
            f"goals lie up to {max(offsets)} steps ahead, and of the {len(lengths)} episodes of {dataset.name} "
            f"{purpose} only {(lengths > max(offsets)).sum()} are longer, where it takes {FEWEST_TESTED}; take nearer "
            f"goals: --offsets {nearer}, or name longer episodes with {option}"
        )
    planned = []
    for offset in sorted(offsets):
        starts = int(np.maximum(0, lengths - offset).sum())
        count, budget = most if exactly else min(most, starts), round(protocol.budget / protocol.offset * offset)
        at = protocol.model_copy(update={"offset": offset, "budget": budget, "pairs": count})
        planned.append(Planned(dataset, at, choose_pairs(dataset, task, among.episodes, at), None, among.held_out))
    shown = ", ".join(f"{len(one.pairs)} at {one.protocol.offset}" for one in planned)
    say(f"pairs {purpose}: {shown} steps ahead")
    return planned


@dataclass
class _Trying:
    """Tries planners of a run on the same pairs, one after the other.

    Args:
        base: the protocol's planner.
        stage: the word for these tries.
        planned: pairs of every distance.
    """

    run: Run
    base: PlannerConfig
    pool: SimulatorPool
    progress: Progress
    stage: str
    planned: list[Planned]
    tried: list[TriedPlanner] = field(default_factory=list)

    @cached_property
    def pairs(self) -> tuple[PairSet, ...]:
        """The pairs with what random actions reach, which nothing is timed beside."""
        self.pool.wait()
        return tuple(map(self._act_at_random, self.planned))

    @property
    def trials(self) -> Trials:
        """Everything so far."""
        return Trials(dataset=self.planned[0].dataset.identity, pairs=self.pairs, tried=tuple(self.tried))

    def add(self, choice: PlannerChoice | None) -> TriedPlanner:
        """Try one more planner on all pairs, or the prior alone."""
        planner = choice and choice.planner(self.base)
        acting = self.planned[0].protocol.model_copy(update={"actor": "run" if choice else "prior", "planner": planner})
        actor, clock, plans, found = find_protocol_actor(self.run, acting), Clock(), 0, []
        known = [dict(enumerate(one.random)) for one in self.pairs]
        steps = sum(len(one.pairs) * one.protocol.budget for one in self.planned)
        with self.progress(f"{self.stage}, {choice or PRIOR_ALONE}", steps, "steps") as advance:
            for one, baselines in zip(self.planned, known, strict=True):
                loop = EvaluationLoop(one.protocol, actor, self.pool, clock, advance, baselines=baselines)
                episodes = loop.play(one.pairs, None, time.monotonic())
                plans += count_plans(episodes, one.protocol, actor)
                found.append(tuple(episode.success for episode in episodes))
        one_more = TriedPlanner(
            choice=choice,
            reached=tuple(found),
            seconds_per_plan=clock.spent.planner / max(1, plans),
            head_sha256=actor.head_sha256,
            prior_sha256=actor.prior_sha256,
        )
        self.tried.append(one_more)
        return one_more

    def _act_at_random(self, one: Planned) -> PairSet:
        acting = [submit_random(self.pool, number, pair, one.protocol) for number, pair in enumerate(one.pairs)]
        return PairSet.of(one.protocol, one.pairs, [response.found for response in gather(acting)])
