"""Improve the planner of a run: fit what may help, choose on some held-out pairs, and measure the gain on others."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from lewm_cli.config import EvalProtocol, Layer, PlannerConfig
from lewm_cli.control import find_protocol_actor, settle_planner
from lewm_cli.errors import LewmError, MissingError
from lewm_cli.evaluate import (
    HELD_OUT,
    PRIOR_ALONE,
    EvaluationLoop,
    ImproveResult,
    Journal,
    Journaled,
    PairSet,
    PlannerChoice,
    Trials,
    TriedPlanner,
    choose_pairs,
    count_plans,
    find_protocol,
    redraw,
    resume_clock,
    submit_random,
)
from lewm_cli.flows import Progress, stopped_with
from lewm_cli.flows.anchors import prepare_anchors
from lewm_cli.flows.evaluate import simulated_task
from lewm_cli.flows.fit import FEWEST_TESTED, fit_loaded
from lewm_cli.flows.planned import Planned
from lewm_cli.flows.results import keep_result, results_folder, try_keeping
from lewm_cli.flows.unseen import UnseenEpisodes, find_unseen
from lewm_cli.heads import find_head
from lewm_cli.model import resolve_device
from lewm_cli.plural import counted
from lewm_cli.report.numbers import duration
from lewm_cli.simulate import SimulatorPool, gather, simulator_pool
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, Run, Say, load_run
from lewm_cli.suggestion import command
from lewm_cli.tasks import Task
from lewm_cli.workers import available_cores

OFFSETS = (25, 50, 75, 100)
"""Environment steps from start to goal."""

STOPPED = (
    "stopped; anchors, heads and episodes of tries that are complete are kept, and the same command goes on from there"
)

VALIDATED = 160
"""Pairs to choose by, of all distances together, if there are so many."""

TESTED = 100
"""Pairs of every distance to test on, likewise."""


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
    """Choose what plans cost, begin at and aim at, how often they are made anew, and then the least effort.

    The result is stored under `<run>.run/results/`, and holds the run's planner from then on. Heads are fitted where
    there are none for the present weights. Episodes that an interrupted call has finished are not acted in again.

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
        StoppedError: Ctrl-C or SIGTERM; heads that were fitted and episodes that are finished are kept.
    """
    begun, on = time.monotonic(), resolve_device(device)
    run = load_run(home, name, on, external=external, say=say)
    run.require_world_model("there is no planner to improve")
    task = simulated_task(run, "no planner can be tried")
    try_keeping(home, run)
    protocol = find_protocol(task, HELD_OUT, (Layer.of("--seed", "seed", seed),))
    to_choose, to_test = _find_episodes(home, run, task, validation, dataset, seed, say)
    validated = VALIDATED // len(offsets)
    chosen_by = _plan(task, protocol, to_choose, offsets, validated, "--validation", say)
    tested_on = _plan(task, protocol, to_test, offsets, episodes or TESTED, "--dataset", say, exactly=bool(episodes))
    base = settle_planner(run, protocol.planning)
    assert base is not None
    protocol = protocol.model_copy(update={"planner": base})
    plain, recording = PlannerChoice.of(base), run.card.dataset.name
    kept = _Kept(home, run, say)
    with stopped_with(lambda: STOPPED), kept.opened:
        aiming, measured = plain.changed(anchors=recording).planner(base), (*chosen_by, *tested_on)
        prepare_anchors(home, run, aiming, say, progress, measured, "name others with --validation and --dataset")
        for kind in ("reach", "prior"):
            _fit_missing(home, run, kind, say, progress)
        if on.type == "cpu":
            torch.set_num_threads(1)  # the planner brings its own threads
        pairs = max(len(one.pairs) for one in (*chosen_by, *tested_on))
        workers = min(available_cores() if workers is None else workers, pairs)
        with simulator_pool(task, workers, say) as pool:
            for planned in {one[0].dataset.name: one[0] for one in (chosen_by, tested_on)}.values():
                redraw(pool, task, planned.dataset, planned.pairs, say)
            trying = _Trying(run, base, pool, progress, "validation", chosen_by, kept)
            testing = _Trying(run, base, pool, progress, "test", tested_on, kept)
            changes, fewer = _most_changes(plain, recording), base.iterations.bit_length() - 1
            kept.ahead = [trying.steps] * (3 + changes + fewer) + [testing.steps] * MOST_TESTED
            say(
                f"tries: at most {len(kept.ahead)}: the planner as it is, {PRIOR_ALONE}, {changes} with another part, "
                f"1 that replans after every step, {fewer} with fewer iterations, and {MOST_TESTED} on test pairs"
            )
            _change_parts(trying, plain, recording)
            kept.ahead = [trying.steps] * fewer + [testing.steps] * MOST_TESTED
            best = trying.trials.best()
            chosen = _cheapest(trying, best) if best else None
            others = {**chosen.controls, PRIOR_ALONE: None} if chosen else {}
            kept.ahead = [testing.steps] * (2 + len(others))
            for each in (plain, chosen, *others.values()) if chosen else ():
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
            gains=tuple(ImproveResult.gained(tested, list(others))) if tested else (),
            seconds_per_plan_before=tested.tried[0].seconds_per_plan if tested else None,
            seconds_per_plan_now=tested.tried[1].seconds_per_plan if tested else None,
        )
        path = keep_result(home, run, "improve", result)
        for journal in kept.journals:  # only now: without them, the same command would try all anew
            journal.remove()
    return result, path


MOST_TESTED = 5
"""Planners on test pairs: the protocol's, the chosen one, two controls at most, and the prior alone."""


def _change_parts(trying: "_Trying", plain: PlannerChoice, recording: str) -> None:
    """Try a planner, and change the part that gains most for as long as one gains; then let it replan after every step.

    That is forward selection, which tries fewer than all combinations. Where every goal is reached, nothing more is.
    """
    best = trying.add(plain)
    trying.add(None)
    while best.choice and best.rate < 1:
        tried = list[TriedPlanner]()
        for choice in _changes(best.choice, recording):
            tried.append(trying.add(choice))
            if tried[-1].rate == 1:
                break
        leading = max(tried, key=lambda one: one.rate, default=best)
        if leading.rate <= best.rate:
            break
        best = leading
    if best.choice and best.rate < 1 and best.choice.receding > 1:
        trying.add(best.choice.changed(receding=1))


def _changes(choice: PlannerChoice, recording: str) -> list[PlannerChoice]:
    """Every change of one part that is as the protocol has it, those that take less time first."""
    found = list[PlannerChoice]()
    if choice.solver != "recorded":
        if not choice.prior:
            found.append(choice.changed(solver="recorded", anchors=recording, iterations=1))
            found.append(choice.changed(prior=True))
        if not choice.anchors:
            found.append(choice.changed(anchors=recording))
    if choice.objective == "last":
        found += [choice.changed(objective=objective) for objective in ("path", "reach")]
    return found


def _most_changes(choice: PlannerChoice, recording: str) -> int:
    """Most planners that forward selection can try from here on."""
    changes = _changes(choice, recording)
    return len(changes) + max((_most_changes(one, recording) for one in changes), default=0)


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
class _Kept:
    """Journals of all tries of a call, so that the next goes on from them, and the time that those ahead may take.

    Args:
        opened: closes the journals.
        ahead: environment steps of every try that may still come, those of the next first.
        slowest: seconds per environment step, of those that were made now.
    """

    home: Home
    run: Run
    say: Say
    opened: ExitStack = field(default_factory=ExitStack)
    journals: list[Journal] = field(default_factory=list)
    ahead: list[int] = field(default_factory=list)
    slowest: float = 0.0

    def open(self, planned: Planned, protocol: EvalProtocol) -> Journal:
        """Open the journal of a try on the pairs of one distance."""
        about = Journaled.of(self.run, planned.dataset, planned.pairs, protocol)
        opening = Journal.opened(results_folder(self.home, self.run), about, resume=True, say=lambda _: None)
        self.journals.append(self.opened.enter_context(opening))
        return self.journals[-1]

    def tried(self, what: str, rate: float, steps: int, seconds: float) -> None:
        """Say what a try found that took so many environment steps now, and what may still come."""
        self.ahead, self.slowest = self.ahead[1:], max(self.slowest, seconds / steps if steps else 0.0)
        left = f", {duration(self.slowest * sum(self.ahead))} at this pace" if self.slowest else ""
        more = f"; at most {len(self.ahead)} more{left}" if self.ahead else ""
        found = f"{rate:.1%}" if steps else f"{rate:.1%}, as an interrupted call found"
        self.say(f"{what}: {found}{more}")


@dataclass
class _Trying:
    """Tries planners of a run on the same pairs, one after the other.

    Args:
        base: the protocol's planner.
        stage: the word for these tries.
        planned: pairs of every distance.
        kept: takes every episode as it ends.
    """

    run: Run
    base: PlannerConfig
    pool: SimulatorPool
    progress: Progress
    stage: str
    planned: list[Planned]
    kept: _Kept
    tried: list[TriedPlanner] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Environment steps that a try takes at most."""
        return sum(len(one.pairs) * one.protocol.budget for one in self.planned)

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
        acting = {"actor": "run" if choice else "prior", "planner": choice and choice.planner(self.base)}
        protocols = [one.protocol.model_copy(update=acting) for one in self.planned]
        actor, what = find_protocol_actor(self.run, protocols[0]), f"{self.stage}, {choice or PRIOR_ALONE}"
        known = [dict(enumerate(one.random)) for one in self.pairs]
        now, plans, planning, steps, found = time.monotonic(), 0, 0.0, 0, []
        with self.progress(what, self.steps, "steps") as advance:
            for one, protocol, baselines in zip(self.planned, protocols, known, strict=True):
                journal = self.kept.open(one, protocol)
                steps += (len(one.pairs) - journal.finished) * protocol.budget
                begun, clock = resume_clock(journal)
                loop = EvaluationLoop(protocol, actor, self.pool, clock, advance, baselines=baselines)
                episodes = loop.play(one.pairs, journal, begun)
                plans, planning = plans + count_plans(episodes, protocol, actor), planning + clock.spent.planner
                found.append(tuple(episode.success for episode in episodes))
        one_more = TriedPlanner(
            choice=choice,
            reached=tuple(found),
            seconds_per_plan=planning / max(1, plans),
            head_sha256=actor.head_sha256,
            prior_sha256=actor.prior_sha256,
        )
        self.tried.append(one_more)
        self.kept.tried(what, one_more.rate, steps, time.monotonic() - now)
        return one_more

    def _act_at_random(self, one: Planned) -> PairSet:
        acting = [submit_random(self.pool, number, pair, one.protocol) for number, pair in enumerate(one.pairs)]
        return PairSet.of(one.protocol, one.pairs, [response.found for response in gather(acting)])
