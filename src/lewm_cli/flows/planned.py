"""Chooses what is evaluated: the protocol that was asked for or can be kept, and its pairs."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from lewm_cli.config import EvalProtocol, Layer
from lewm_cli.control import settle_planner
from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.evaluate import (
    HELD_OUT,
    RELEASE,
    Journal,
    Journaled,
    PairManifest,
    PairsOrigin,
    choose_pairs,
    find_protocol,
    manifest_pairs,
    read_manifest,
    refuse_planning,
    write_manifest,
)
from lewm_cli.flows.improved import improved_planner
from lewm_cli.flows.results import results_folder
from lewm_cli.flows.unseen import UnseenEpisodes, find_unseen, is_unseen
from lewm_cli.model import WorldModel
from lewm_cli.simulate import Pair
from lewm_cli.store import Home, Run, Say
from lewm_cli.suggestion import command
from lewm_cli.tasks import Task


@dataclass(frozen=True)
class EvalRequest:
    """An evaluation that is asked for, as the options of `lewm eval` say it.

    Args:
        dataset: where starts and goals come from; that of the manifest if not given, or what the run was trained on.
        protocol: name of one of the task's; `heldout` if not given and that can be kept, else `release`.
        manifest: file of pairs, written if it does not exist.
        seeds: how often the same pairs are planned for, each time with another seed.
        offsets: environment steps from start to goal, each evaluated; the protocol's if not given.
        references: settings of the references that are measured on the same pairs; None measures none.
        resume: go on from the episodes that an interrupted evaluation of the same pairs has finished.
        plain: plan as the protocol says, whatever `lewm improve` chose.
    """

    dataset: str | None = None
    settings: tuple[Layer, ...] = ()
    protocol: str | None = None
    manifest: Path | None = None
    seeds: int = 1
    offsets: tuple[int, ...] = ()
    references: tuple[Layer, ...] | None = None
    resume: bool = False
    plain: bool = False


@dataclass(frozen=True)
class Planned:
    """Pairs to plan for, their manifest if one holds them, and how success on them is measured."""

    dataset: Dataset
    protocol: EvalProtocol
    pairs: list[Pair]
    origin: PairsOrigin | None
    held_out: bool

    def with_seed(self, number: int) -> Self:
        """The same pairs planned for with another seed; number 0 is this."""
        if number == 0:
            return self
        changed = tuple(dict.fromkeys((*self.protocol.changed, "planning_seed")))
        change = {"planning_seed": self.protocol.drawn_with + number, "changed": changed}
        return replace(self, protocol=self.protocol.model_copy(update=change))


def find_planned(home: Home, run: Run, task: Task, request: EvalRequest, say: Say) -> list[Planned]:
    """Choose protocol and pairs, one set of them for every offset; errors are those of `evaluate_run`."""
    manifest, seeds, references = request.manifest, request.seeds, request.references is not None
    if manifest and request.offsets:
        raise UsageError("--manifest holds pairs of one offset; leave --offsets out, or --manifest")
    if references and seeds > 1:
        raise UsageError("--references are of one seed of planning; leave --seeds out, or --references")
    if not isinstance(run.model, WorldModel):
        refuse_planning(f"{run.name} is a policy: it", request.settings, references=references)
    acts_alone = any(layer.tree.get("actor") == "prior" for layer in request.settings)
    settings = (*improved_planner(home, run, say, plain=request.plain or acts_alone), *request.settings)
    stored = read_manifest(manifest) if manifest and manifest.exists() else None
    found = find_protocol(task, request.protocol or HELD_OUT, settings)
    name = request.dataset or (stored.dataset.name if stored else None)
    among = find_unseen(home, run, task, name, say, every=found.episodes == "all")
    if request.protocol is None and found.episodes == "unseen" and not among.held_out:
        found = find_protocol(task, RELEASE, settings)
    say(f"protocol: {found}, {found.purpose}")
    if found.actor == "prior":
        run.require_world_model(f"it has no prior; leave actor out: {command('eval', run.name)}")
        refuse_planning("the prior alone", (), references=references)
    if seeds > 1 and (found.actor == "prior" or not isinstance(run.model, WorldModel)):
        say(f"note: {run.name} draws nothing, so another seed only changes the random actions")
    if references and found.planning.objective == "path":
        raise UsageError(
            "--references see where plans lead and not the way there, which planner.objective=path is about; leave one "
            "of them out"
        )
    ratio = found.budget / found.offset  # steps allowed for each step to the goal
    layers = [
        Layer("--offsets", {"offset": offset, "budget": max(1, round(ratio * offset))}) for offset in request.offsets
    ]
    protocols = [find_protocol(task, found.name, (*settings, layer)) for layer in layers] or [found]
    planner = found.planner and settle_planner(run, found.planner)
    planned = [
        _plan(run, task, among, one.model_copy(update={"planner": planner}), manifest, stored, say) for one in protocols
    ]
    if request.resume and planner and found.planning.precision == "auto":
        return _as_begun(home, run, planned, seeds)
    return planned


def _as_begun(home: Home, run: Run, planned: list[Planned], seeds: int) -> list[Planned]:
    """In the precision in which an interrupted evaluation of these has begun: measured again, it might be the other."""
    measured = planned[0].protocol.planning
    folder = results_folder(home, run)
    for precision in sorted(("float32", "bfloat16"), key=lambda one: one != measured.precision):
        planner = measured.model_copy(update={"precision": precision})
        same = [replace(one, protocol=one.protocol.model_copy(update={"planner": planner})) for one in planned]
        every = [one.with_seed(number) for one in same for number in range(seeds)]
        try:
            if any(Journal.begun(folder, Journaled.of(run, one.dataset, one.pairs, one.protocol)) for one in every):
                return same
        except LewmError:  # anchors are still to be encoded, so nothing has begun by them
            break
    return planned


def _plan(
    run: Run,
    task: Task,
    among: UnseenEpisodes,
    protocol: EvalProtocol,
    path: Path | None,
    manifest: PairManifest | None,
    say: Say,
) -> Planned:
    """Draw pairs, or read them."""
    dataset, origin = among.dataset, None
    if path and manifest:
        if "pairs" in protocol.changed and protocol.pairs != len(manifest.pairs):
            raise LewmError(
                f"{path} holds {len(manifest.pairs)} pairs, and {protocol.pairs} were asked for; leave --episodes out, "
                "or name another --manifest"
            )
        pairs, origin = manifest_pairs(path, manifest, task, dataset, protocol, say)
        if len(pairs) != protocol.pairs:
            changed = (*protocol.changed, "pairs")
            protocol = protocol.model_copy(update={"pairs": len(pairs), "changed": changed})
    else:
        pairs = choose_pairs(dataset, task, among.episodes, protocol)
        short = int((dataset.lengths[among.episodes] <= protocol.offset).sum())
        if short:
            whole = f"shorter than the way to a goal ({protocol.offset + 1} rows)"
            say(f"left out: {short} of {len(among.episodes)} episodes, {whole}")
        if path:
            origin = write_manifest(path, task, dataset, protocol, pairs)
            say(f"pairs: {len(pairs)}, written to {path}")
    trained_on = ~is_unseen(run, dataset)[[pair.episode for pair in pairs]]
    if among.held_out and trained_on.any():
        raise LewmError(
            f"{trained_on.sum()} of the {len(pairs)} pairs in {path} are from episodes that {run.name} was trained on; "
            f"allow that with --protocol {RELEASE}, or have others written to another --manifest"
        )
    return Planned(dataset, protocol, pairs, origin, held_out=not trained_on.any())
