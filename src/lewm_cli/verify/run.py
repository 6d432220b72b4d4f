"""Is a run what its weights say: header, tensors, derived files, measurements, log."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

import torch
from pydantic import ValidationError
from torch import Tensor

from lewm_cli import __version__
from lewm_cli.config import RunCard
from lewm_cli.errors import LewmError
from lewm_cli.files import is_locked
from lewm_cli.heads import KINDS, fit_command, read_head
from lewm_cli.model import LeWM
from lewm_cli.store import (
    Measurement,
    RunFiles,
    StoredStatistics,
    head_paths,
    read_card,
    read_tensors,
    weights_digest,
)
from lewm_cli.store.derived import check_sums
from lewm_cli.store.formats import read_checkpoint
from lewm_cli.store.origin import run_origin
from lewm_cli.verify.check import Finding, Problem, Remark, RunCheck, guarded
from lewm_cli.verify.derived import derived_findings
from lewm_cli.verify.origin import origin_findings

TRAIN_AGAIN = "train or fetch it again"
COPY_AGAIN = "fetch or copy it again"


@dataclass
class _Weights:
    """What could be read of the weight file."""

    card: RunCard | None = None
    state: dict[str, Tensor] | None = None
    digest: str | None = None


@dataclass
class _Counts:
    derived: int = 0
    heads: int = 0
    results: int = 0
    older_results: int = 0
    log_entries: int = 0


@dataclass(frozen=True)
class _Look:
    """One look at one run; counts on the way."""

    name: str
    files: RunFiles
    folders: Sequence[Path]
    kinds: Mapping[str, type[Measurement]]
    weights: _Weights = field(default_factory=_Weights)
    counts: _Counts = field(default_factory=_Counts)

    def tensors(self) -> Iterator[Finding]:
        if self.files.foreign:
            self.weights.state = read_checkpoint(self.files.foreign).state
        else:
            self.own_tensors()
        self.weights.digest = weights_digest(self.files.weights)
        state = self.weights.state or {}
        endless = [key for key, value in state.items() if not torch.isfinite(value).all()]
        if endless:
            says = f"{len(endless)} of {len(state)} tensors hold NaN or infinity, first {endless[0]!r}"
            yield Problem(says, self.again())

    def own_tensors(self) -> None:
        self.weights.card = card = read_card(self.files.weights)
        with torch.device("meta"):  # names and shapes are all that is needed of the model
            model = LeWM(card.model, card.inputs.block_dim)
        self.weights.state = read_tensors(self.files.weights, model)

    def origin(self) -> Iterator[Finding]:
        """Of weights that were fetched."""
        noted = run_origin(self.files)
        if noted:
            yield from origin_findings(noted, f"{quote(self.name)} --checkpoint")

    def statistics(self) -> Iterator[Finding]:
        """Of weights that do not carry their own."""
        if not self.files.foreign:
            return
        paths = {RunFiles(stem).statistics for stem in (self.files.stem, *map(_stem_of_results, self.folders))}
        there = [path for path in sorted(paths) if path.exists()]
        if not there:
            yield Remark("no statistics yet: evaluating it needs --stats-from DATASET")
        for path in there:
            compute = f"compute them again: lewm show {quote(self.name)} --stats-from DATASET"
            try:
                stored = StoredStatistics.model_validate_json(path.read_bytes())
            except ValidationError:
                yield Problem(f"{path.name} holds no statistics that can be read", compute)
                continue
            if stored.weights_sha256 != self.weights.digest:
                yield Remark(f"{path.name} is of earlier weights; {compute}")

    def derived(self) -> Iterator[Finding]:
        card, state = self.weights.card, self.weights.state
        if card is None or card.provenance is None or state is None:
            return  # there is nothing to compare with, or nothing was derived
        if is_locked(self.files.weights):
            yield Remark(f"being trained now, step {card.provenance.step:,}")
            return
        if self.files.stopped:
            try:
                check_sums(self.files.resume)
            except LewmError as error:
                yield Problem(f"training stopped, and {error}", self.again())
                return
            yield Remark(f"training stopped after step {card.provenance.step:,}; go on with: {self.resume()}")
        again = f"write it again: {self.resume()}" if self.files.resume.exists() else self.again()
        for finding in derived_findings(self.files, card, state, again):
            if isinstance(finding, Path):
                self.counts.derived += 1
            else:
                yield finding

    def heads(self) -> Iterator[Finding]:
        """Of what was fitted to the latents."""
        places = (self.files, *(RunFiles(_stem_of_results(folder)) for folder in self.folders))
        for kind in KINDS:
            again = fit_command(self.name, kind)
            for path in filter(Path.exists, head_paths(places, kind)):
                try:
                    stored = read_head(path, kind, again)
                except LewmError as error:
                    yield Problem(str(error), f"fit it again: {again}")
                    continue
                if stored.fit.weights_sha256 == self.weights.digest:
                    self.counts.heads += 1
                else:
                    yield Remark(f"{path.name} is of earlier weights; fit it again: {again}")

    def results(self) -> Iterator[Finding]:
        paths = (path for folder in dict.fromkeys(self.folders) for path in sorted(folder.glob("*.json")))
        for path in paths:
            kind = self.kinds.get(path.name.partition("-")[0])
            if kind is None:
                yield Remark(f"{path.name} is no kind of result that this version knows")
                continue
            try:
                result = kind.model_validate_json(path.read_bytes())
            except ValidationError:
                yield _unreadable_result(path)
                continue
            if result.weights_sha256 == self.weights.digest:
                self.counts.results += 1
            else:
                self.counts.older_results += 1

    def log(self) -> Iterator[Finding]:
        if not self.files.log.exists():
            return
        content = self.files.log.read_bytes()
        whole, cut = content.count(b"\n"), not content.endswith(b"\n") and bool(content)
        self.counts.log_entries = sum(map(_is_event, content.split(b"\n")))
        spoiled = whole + cut - self.counts.log_entries
        if whole and not self.counts.log_entries:
            says = f"{self.files.log.name} is damaged: none of its {whole} lines can be read"
            yield Problem(says, f"the weights do not need it: rm {quote(str(self.files.log))}")
        elif spoiled > 0:
            yield Remark(f"{spoiled} lines of {self.files.log.name} cannot be read, as a kill leaves them")

    def resume(self) -> str:
        return f"lewm train {self.task} --name {quote(self.name)} --resume"

    def again(self) -> str:
        if self.files.foreign:
            return COPY_AGAIN
        card = self.weights.card
        if card is None or card.provenance is None:
            return TRAIN_AGAIN
        dataset = quote(card.provenance.dataset.name)
        config = f" --config {quote(str(self.files.config))}" if self.files.config.exists() else ""
        return f"train it again: lewm train {dataset} --name {quote(self.name)}{config} --overwrite"

    @property
    def task(self) -> str:
        return self.weights.card.inputs.task if self.weights.card else "TASK"


def check_run(name: str, files: RunFiles, folders: Sequence[Path], kinds: Mapping[str, type[Measurement]]) -> RunCheck:
    """Look at everything that belongs to a run; damage is a finding, never an error.

    Args:
        name: run name.
        files: where it lies.
        folders: where its stored measurements lie.
        kinds: what a stored measurement is, by the first word of its file name.
    """
    look = _Look(name, files, folders, kinds)
    findings = [*guarded(files.weights.name, look.tensors, COPY_AGAIN if files.foreign else TRAIN_AGAIN)]
    again = look.again()
    findings += guarded("its origin", look.origin, COPY_AGAIN)
    findings += guarded("the statistics", look.statistics, again)
    findings += guarded("what is derived from the weights", look.derived, again)
    findings += guarded("a head", look.heads, fit_command(name, "reach"))
    findings += guarded("a stored result", look.results, "measure again")
    findings += guarded(files.log.name, look.log, "the weights do not need it")
    state = look.weights.state
    return RunCheck(
        name=name,
        path=files.weights,
        findings=tuple(findings),
        tensors=None if state is None else len(state),
        **vars(look.counts),
    )


def _unreadable_result(path: Path) -> Finding:
    try:
        versions = json.loads(path.read_bytes())["versions"]
        writer = versions["lewm-cli"]
    except (ValueError, LookupError, TypeError):
        writer = None
    if isinstance(writer, str) and writer != __version__:
        return Remark(f"{path.name} was written by lewm-cli {writer} and cannot be read by this version")
    return Problem(f"{path.name} is no result that can be read", f"measure again, after: rm {quote(str(path))}")


def _stem_of_results(folder: Path) -> Path:
    return folder.parent.with_suffix("")


def _is_event(line: bytes) -> bool:
    try:
        return "event" in json.loads(line)
    except (ValueError, TypeError):
        return False
