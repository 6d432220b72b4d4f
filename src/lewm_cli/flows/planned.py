"""What is evaluated: the protocol that was asked for or can be kept, and its pairs."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from lewm_cli.config import EvalProtocol, Layer
from lewm_cli.control import resolve_precision
from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError, UsageError
from lewm_cli.evaluate import (
    HELD_OUT,
    RELEASE,
    Journal,
    Journaled,
    Pair,
    PairManifest,
    PairsOrigin,
    choose_pairs,
    find_protocol,
    freeze,
    read_manifest,
    thaw,
)
from lewm_cli.flows.results import results_folder
from lewm_cli.flows.unseen import UnseenEpisodes, find_all, find_unseen, is_unseen
from lewm_cli.store import NOTHING_SAID, Foreign, Home, Run
from lewm_cli.tasks import Task
from lewm_cli.workers import available_cores


@dataclass(frozen=True)
class EvalRequest:
    """What to evaluate.

    Args:
        run: run name.
        dataset: where starts and goals come from; that of the manifest if not given, or what the run was trained on.
        settings: laid over the protocol.
        device: auto, cpu, cuda or mps.
        films: pairs kept as filmstrips for the page, candidates of the planner included.
        foreign: how weights of another tool are read.
        workers: processes that simulate, 1 for none but this one; does not change the result.
        resume: go on from the episodes that an interrupted evaluation of the same pairs has finished.
        protocol: name of one of the task's; `heldout` if not given and that can be kept, else `release`.
        manifest: file of pairs, written if it does not exist.
        seeds: how often the same pairs are planned for, each time with another seed.
        offsets: environment steps from start to goal, each evaluated; the protocol's if not given.
        references: settings of the references that are measured on the same pairs; None for no references.
    """

    run: str
    dataset: str | None = None
    settings: tuple[Layer, ...] = ()
    device: str = "auto"
    films: int = 4
    foreign: Foreign = NOTHING_SAID
    workers: int = field(default_factory=available_cores)
    resume: bool = False
    protocol: str | None = None
    manifest: Path | None = None
    seeds: int = 1
    offsets: tuple[int, ...] = ()
    references: tuple[Layer, ...] | None = None


def parse_offsets(text: str) -> tuple[int, ...]:
    """Read `25,50,75`.

    Raises:
        UsageError: it is something else.
    """
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"--offsets {text!r} is no list of environment steps like 25,50,75,100")
    return tuple(dict.fromkeys(int(word) for word in words))


@dataclass(frozen=True)
class Planned:
    """Pairs to plan for, and how success on them is measured.

    Args:
        dataset: where they come from.
        protocol: budget, gate, planner and seeds.
        pairs: starts and goals.
        origin: the manifest that holds them, if one does.
        held_out: whether the run was trained on none of their episodes.
    """

    dataset: Dataset
    protocol: EvalProtocol
    pairs: list[Pair]
    origin: PairsOrigin | None
    held_out: bool

    def with_seed(self, number: int) -> Self:
        """The same pairs planned for with another seed; number 0 is this."""
        if number == 0:
            return self
        change = {"planning_seed": self.protocol.drawn_with + number}
        changed = (*self.protocol.changed, *(key for key in change if key not in self.protocol.changed))
        return replace(self, protocol=self.protocol.model_copy(update={**change, "changed": changed}))

    def in_precision(self, precision: str) -> Self:
        """The same pairs planned for in another precision."""
        planner = self.protocol.planner.model_copy(update={"precision": precision})
        return replace(self, protocol=self.protocol.model_copy(update={"planner": planner}))


def find_planned(home: Home, run: Run, task: Task, request: EvalRequest, say: Callable[[str], None]) -> list[Planned]:
    """Choose protocol and pairs, one set of them for every offset.

    Raises:
        UsageError: a protocol that is not there or cannot mean anything, or options that exclude each other.
        LewmError: no such dataset, too few test episodes, or a manifest of other pairs.
    """
    if request.manifest and request.offsets:
        raise UsageError("--manifest holds pairs of one offset; leave --offsets out, or --manifest")
    if request.references is not None and request.seeds > 1:
        raise UsageError("--references are of one seed of planning; leave --seeds out, or --references")
    manifest = read_manifest(request.manifest) if request.manifest and request.manifest.exists() else None
    protocol, among = _measured_on(home, run, task, request, manifest, say)
    if request.references is not None and protocol.planner.objective == "path":
        raise UsageError(
            "--references see where plans lead and not the way there, which planner.objective=path is about; leave one "
            "of them out"
        )
    planner = resolve_precision(run, protocol.planner)
    planned = [
        _plan(run, task, among, one.model_copy(update={"planner": planner}), request.manifest, manifest, say)
        for one in _over_offsets(task, protocol, request.offsets, request.settings)
    ]
    if request.resume and protocol.planner.precision == "auto":
        return _as_begun(home, run, planned, request.seeds)
    return planned


def _as_begun(home: Home, run: Run, planned: list[Planned], seeds: int) -> list[Planned]:
    """In the precision in which an interrupted evaluation of these has begun: measured again, it might be the other."""
    measured = planned[0].protocol.planner.precision
    folder = results_folder(home, run)
    for precision in sorted(("float32", "bfloat16"), key=lambda one: one != measured):
        same = [one.in_precision(precision) for one in planned]
        every = [one.with_seed(number) for one in same for number in range(seeds)]
        if any(Journal.begun(folder, Journaled.of(run, one.dataset, one.pairs, one.protocol)) for one in every):
            return same
    return planned


def _measured_on(
    home: Home,
    run: Run,
    task: Task,
    request: EvalRequest,
    manifest: PairManifest | None,
    say: Callable[[str], None],
) -> tuple[EvalProtocol, UnseenEpisodes]:
    """The protocol, and the episodes that it allows."""
    protocol = find_protocol(task, request.protocol or HELD_OUT, request.settings)
    name = request.dataset or (manifest.dataset.name if manifest else None)
    among = (find_all if protocol.episodes == "all" else find_unseen)(home, run, task, name, say)
    if request.protocol is None and protocol.episodes == "unseen" and not among.held_out:
        protocol = find_protocol(task, RELEASE, request.settings)
    say(f"protocol: {protocol}, {protocol.purpose}")
    return protocol, among


def _over_offsets(
    task: Task, protocol: EvalProtocol, offsets: tuple[int, ...], settings: tuple[Layer, ...]
) -> list[EvalProtocol]:
    """The protocol with goals so far ahead, and as many steps allowed for each step to the goal as it allows itself."""
    ratio = protocol.budget / protocol.offset
    layers = [Layer("--offsets", {"offset": offset, "budget": max(1, round(ratio * offset))}) for offset in offsets]
    return [find_protocol(task, protocol.name, (*settings, layer)) for layer in layers] or [protocol]


def _plan(
    run: Run,
    task: Task,
    among: UnseenEpisodes,
    protocol: EvalProtocol,
    path: Path | None,
    manifest: PairManifest | None,
    say: Callable[[str], None],
) -> Planned:
    """Draw pairs, or read them."""
    dataset, origin = among.dataset, None
    if path and manifest:
        if "pairs" in protocol.changed and protocol.pairs != len(manifest.pairs):
            raise LewmError(
                f"{path} holds {len(manifest.pairs)} pairs, and {protocol.pairs} were asked for; leave --episodes out, "
                "or name another --manifest"
            )
        pairs, origin = thaw(path, manifest, task, dataset, protocol, say)
        if len(pairs) != protocol.pairs:
            changed = (*protocol.changed, "pairs")
            protocol = protocol.model_copy(update={"pairs": len(pairs), "changed": changed})
    else:
        pairs = choose_pairs(dataset, task, among.episodes, protocol)
        if path:
            origin = freeze(path, task, dataset, protocol, pairs)
            say(f"pairs: {len(pairs)}, frozen in {path}")
    trained_on = ~is_unseen(run, dataset)[[pair.episode for pair in pairs]]
    if among.held_out and trained_on.any():
        raise LewmError(
            f"{trained_on.sum()} of the {len(pairs)} pairs in {path} are from episodes that {run.name} was trained on; "
            f"allow that with --protocol {RELEASE}, or freeze others in another --manifest"
        )
    return Planned(dataset, protocol, pairs, origin, held_out=not trained_on.any())
