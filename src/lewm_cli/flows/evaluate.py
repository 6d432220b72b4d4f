"""Evaluate a run on pairs, and keep the result beside it; or drive its simulator towards an image."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from lewm_cli.config import Layer, ReferencesConfig, merge_layers
from lewm_cli.control import find_objective, find_prior, find_protocol_actor, nondeterminism, resolve_precision
from lewm_cli.data import read_image
from lewm_cli.diagnose import (
    PlansBy,
    ReferenceDiagnostics,
    choose_episodes,
    film,
    find_references,
    planned_by,
    reference_planner,
)
from lewm_cli.errors import LewmError
from lewm_cli.evaluate import (
    HELD_OUT,
    EvalResult,
    Film,
    GoalImageResult,
    GoalProtocol,
    Journal,
    Journaled,
    Reference,
    References,
    drive_to_image,
    evaluate,
    first_seed,
    redraw,
    remarks,
)
from lewm_cli.flows import Progress, stopped_with
from lewm_cli.flows.anchors import prepare_anchors
from lewm_cli.flows.improved import count_chosen_by, improved_planner
from lewm_cli.flows.planned import EvalRequest, Planned, find_planned
from lewm_cli.flows.results import Evaluated, find_evaluation, keep_result, results_folder, try_keeping
from lewm_cli.model import resolve_device
from lewm_cli.plural import counted
from lewm_cli.simulate import SimulatorPool, simulator_pool
from lewm_cli.store import NO_OPTIONS, ExternalWeights, Home, Run, Say, load_run
from lewm_cli.suggestion import command
from lewm_cli.tasks import Task, find_task
from lewm_cli.workers import available_cores


def evaluate_run(
    home: Home,
    name: str,
    request: EvalRequest,
    say: Say,
    progress: Progress,
    *,
    record: int = 4,
    video: Callable[[Film], None] | None = None,
    workers: int | None = None,
    device: str = "auto",
    external: ExternalWeights = NO_OPTIONS,
) -> list[Evaluated]:
    """Evaluate by acting in the simulator, and store one result per offset under `<run>.run/results/`.

    Returns every result and its file. The first offset is stored last: pages and tables show the newest result.

    Args:
        record: pairs of the first offset and seed whose frames and plans are kept for `lewm view` and the page; none of
            a policy, which has no plans.
        video: takes what the camera saw, pair by pair, of the first offset and seed.
        workers: processes that simulate, 1 for none but this one; all cores if not given. Does not change the result.

    Raises:
        UsageError: a protocol that is not there, or cannot mean anything.
        LewmError: no such run or dataset, no simulator, too few test episodes, a manifest of other pairs, or a
            simulator that draws something else than was recorded or dies again and again.
        StoppedError: Ctrl-C or SIGTERM; the finished episodes are kept.
    """
    on = resolve_device(device)
    if on.type == "cpu":
        torch.set_num_threads(1)  # the planner brings its own threads
    run = load_run(home, name, on, external=external, say=say)
    instead = command("eval", run.name, "--offline")
    task = simulated_task(run, f"it cannot act; measure it on recorded episodes: {instead}")
    config = None if request.references is None else find_references(task, request.references)
    planned = find_planned(home, run, task, request, say)
    if run.card.unusable:
        say(f"note: {run.card.unusable}")
    made = run.card.provenance
    if made and made.chosen_by and made.dataset.fingerprint == planned[0].dataset.identity.fingerprint:
        say(
            f"note: this state was chosen by its success on {len(made.chosen_by.pairs)} other pairs of these episodes, "
            "so the rate may be a little too good; --dataset with another recording measures without that"
        )
    find_prior(run, planned[0].protocol.prior)  # a missing head is reported before anything is simulated
    if planner := planned[0].protocol.planner:
        find_objective(run, planner)
        every = [pair for one in planned for pair in one.pairs]
        if not request.plain and (known := count_chosen_by(home, run, every, planned[0].dataset)):
            say(
                f"note: lewm improve chose the planner by {counted(known, 'episode')} of these, so the rate may be a "
                "little too good; --dataset with another recording measures without that"
            )
        prepare_anchors(home, run, planner, say, progress, planned)
        if config and (planner.prior or planner.anchors):
            say("note: references begin at no prior and aim at the goals themselves")
        if record:
            run.recorded_proprio(planned[0].dataset)  # and so is what the latent map needs
    farthest = max((one.protocol for one in planned), key=lambda protocol: protocol.offset)
    try_keeping(home, run)
    for remark in remarks(task, farthest, run.card.inputs.frameskip):
        say(f"unusual: {remark}")
    workers = available_cores() if workers is None else workers
    if config is None:  # where there are references, one pair alone keeps all workers busy
        workers = min(workers, max(len(one.pairs) for one in planned))
    with simulator_pool(task, workers, say) as pool, ExitStack() as opened:
        several = request.seeds * len(planned) > 1
        work = _Evaluation(home, run, task, request.seeds, several, config, request.resume, pool, opened, say, progress)
        with stopped_with(lambda: work.kept(planned)):
            stored = [work.measure(one, video if one is planned[0] else None) for one in reversed(planned)][::-1]
            if planner:
                stored[0] = stored[0]._replace(films=work.film(planned[0], stored[0].result, record))
        for journal in work.journals:  # only now: without them, the same command would measure and store anew
            journal.remove()
    return stored


@dataclass(frozen=True)
class _Evaluation:
    """The evaluation of one run in its simulator.

    Args:
        several: progress names seeds and offsets.
        opened: closes the journals in the end.
        journals: of every seed and offset so far; they are needed until all results and films are stored.
    """

    home: Home
    run: Run
    task: Task
    seeds: int
    several: bool
    references: ReferencesConfig | None
    resume: bool
    pool: SimulatorPool
    opened: ExitStack
    say: Say
    progress: Progress
    journals: list[Journal] = field(default_factory=list)

    def measure(self, pairs: Planned, video: Callable[[Film], None] | None) -> Evaluated:
        """Measure one offset under every seed, and store that; a result that is stored already is taken as it is."""
        planned = [pairs.with_seed(number) for number in range(self.seeds)]
        journals = [self._open_journal(one) for one in planned]
        references = {by: self._open_journal(self._referring(pairs), by) for by in self._planned_by(pairs)}
        if all(journal.finished == len(pairs.pairs) for journal in journals):
            # An interrupted evaluation of several offsets may have stored this one.
            episodes = tuple(one for journal in journals for one in journal.episodes)
            stored = find_evaluation(self.home, self.run, pairs.dataset, pairs.protocol, episodes)
            planner = self._referring(pairs).protocol.planning if self.references else None
            measured = stored.result.references if stored else None
            if stored and (planner is None or (measured and measured.planner == planner)):
                return stored
        results = [
            self._evaluate(one, journal, video if one is pairs else None)
            for one, journal in zip(planned, journals, strict=True)
        ]
        result = EvalResult.over_seeds(results).model_copy(update={"manifest": pairs.origin})
        if self.references:
            diagnostics = ReferenceDiagnostics(self.run, pairs.pairs, result, self.references, self.pool)
            found = self._measure_references(diagnostics, self._title(pairs), references)
            result = result.model_copy(update={"references": found})
        try:
            return Evaluated(result, keep_result(self.home, self.run, "eval", result))
        except LewmError as error:
            raise LewmError(f"{error}; its episodes are kept: add --resume to the command") from error

    def kept(self, planned: list[Planned]) -> str:
        """Say how many episodes are kept when this is stopped, those of references included, and how to go on."""
        finished = sum(journal.finished for journal in self.journals)
        if not finished:
            return "stopped before an episode was finished; nothing was left behind"
        every = sum(len(pairs.pairs) * (self.seeds + len(self._planned_by(pairs))) for pairs in planned)
        return f"stopped; {finished} of {every} episodes are kept, and the same command with --resume goes on"

    def film(self, pairs: Planned, result: EvalResult, count: int) -> Path | None:
        """Film some pairs of a result under its first seed, and store that; returns the file, None if there is none."""
        result = result.model_copy(update={"episodes": tuple(first_seed(result.episodes))})
        chosen = choose_episodes(result, count)
        if not chosen:
            if count:
                self.say("films: none, for every goal was reached at the start")
            return None
        with self.progress("filming", 2 * len(chosen) * result.protocol.budget, "steps") as advance:
            filmed = film(self.run, self.task, pairs.dataset, result, chosen, advance, self.pool)
        return keep_result(self.home, self.run, "films", filmed)

    def _evaluate(self, planned: Planned, journal: Journal, video: Callable[[Film], None] | None) -> EvalResult:
        protocol = planned.protocol
        redrawn = redraw(self.pool, self.task, planned.dataset, planned.pairs, self.say)
        with self.progress(self._title(planned), len(planned.pairs) * protocol.budget, "steps") as advance:
            return evaluate(
                self.run,
                self.task,
                planned.dataset,
                planned.pairs,
                protocol,
                find_protocol_actor(self.run, protocol),
                held_out=planned.held_out,
                advance=advance,
                film=video,
                simulators=self.pool,
                journal=journal,
                redrawn=redrawn,
            )

    def _planned_by(self, pairs: Planned) -> tuple[PlansBy, ...]:
        """The costs that references plan by; none without references."""
        return planned_by(pairs.protocol.planning, self.references) if self.references else ()

    def _referring(self, pairs: Planned) -> Planned:
        """The same pairs as references plan for them."""
        assert self.references is not None
        planner = reference_planner(pairs.protocol.planning, self.references)
        return replace(pairs, protocol=pairs.protocol.model_copy(update={"planner": planner}))

    def _measure_references(
        self, diagnostics: ReferenceDiagnostics, title: str, journals: dict[PlansBy, Journal]
    ) -> References:
        """Measure one reference after the other, each with its progress."""
        steps = len(diagnostics.pairs) * diagnostics.protocol.budget
        with self.progress(f"{title} (zero action)", steps, "steps") as advance:
            no_action = diagnostics.no_action(advance)
        planned: dict[PlansBy, Reference] = {}
        for by, journal in journals.items():
            with self.progress(f"{title} ({by})", steps, "steps") as advance:
                planned[by] = diagnostics.plan(by, advance, journal)
        with self.progress(f"{title} (ranking)", len(diagnostics.unsolved), "pairs") as advance:
            ranking = diagnostics.rank(advance)
        return diagnostics.result(
            no_action, planned.get("model"), planned["true latent"], planned["true state"], ranking
        )

    def _open_journal(self, planned: Planned, by: PlansBy | None = None) -> Journal:
        """Open the journal of an evaluation, or of a reference by what that plans by."""
        about = Journaled.of(self.run, planned.dataset, planned.pairs, planned.protocol, by or "model")
        say = self.say if by is None else lambda message: self.say(f"{by}: {message}")
        folder = results_folder(self.home, self.run)
        self.journals.append(self.opened.enter_context(Journal.opened(folder, about, resume=self.resume, say=say)))
        return self.journals[-1]

    def _title(self, planned: Planned) -> str:
        protocol = planned.protocol
        return f"offset {protocol.offset}, seed {protocol.drawn_with}" if self.several else "evaluating"


def drive_run(
    home: Home,
    name: str,
    image: Path,
    say: Say,
    progress: Progress,
    *,
    start_seed: int = 0,
    settings: tuple[Layer, ...] = (),
    video: Callable[[Film], None] | None = None,
    plain: bool = False,
    device: str = "auto",
    external: ExternalWeights = NO_OPTIONS,
) -> GoalImageResult:
    """Reset the simulator of a run's task by a seed, and plan towards the goal in an image file; nothing is stored.

    Args:
        settings: laid over what the task's protocol `heldout` says of driving.
        plain: plan as that says, whatever `lewm improve` chose.

    Raises:
        UsageError: settings that cannot mean anything.
        LewmError: no such run, no simulator or one for other actions, or an image that cannot stand for a frame.
    """
    goal = read_image(image)
    run = load_run(home, name, resolve_device(device), external=external, say=say)
    run.require_world_model()
    instead = f"plan between two images: {command('plan', run.name, '--start', 'IMG', '--goal', 'IMG')}"
    task = simulated_task(run, f"there is nothing to drive; {instead}")
    assert task.make_simulator is not None
    base = {key: value for key, value in task.protocols[HELD_OUT].items() if key in GoalProtocol.model_fields}
    chosen = improved_planner(home, run, say, plain=plain)
    merged = merge_layers([Layer(f"protocol {task.name}/{HELD_OUT} for a goal image", base), *chosen, *settings])
    protocol = GoalProtocol.build(merged.tree, merged.source)
    protocol = protocol.model_copy(update={"planner": resolve_precision(run, protocol.planner)})
    if remark := nondeterminism(protocol.planner):
        say(f"unusual: {remark}")
    prepare_anchors(home, run, protocol.planner, say, progress)
    with progress("driving", protocol.budget, "steps") as advance:
        return drive_to_image(run, task.make_simulator(), start_seed, goal, protocol, advance, video)


def simulated_task(run: Run, otherwise: str) -> Task:
    """Returns the task of a run, in whose simulator its actions can be taken.

    Raises LewmError if there is no such simulator; `otherwise` says what cannot be done then.
    """
    inputs = run.card.inputs
    task = find_task(inputs.task)
    if task is None or task.make_simulator is None:
        raise LewmError(f"{run.name} was trained on a recording without a simulator ({inputs.task}), so {otherwise}")
    width = dict(task.recognized_by).get("action", inputs.actions.dim)
    if width != inputs.actions.dim:
        raise LewmError(
            f"{run.name} acts with {inputs.actions.dim} action dimensions, and the simulator of {task.name} takes "
            f"{width}; it was not trained on a recording of {task.name}: `{command('show', run.name)}` says on which"
        )
    return task
