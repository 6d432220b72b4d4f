"""Checks a run: header, tensors, derived files, heads, measurements, log."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import torch
from pydantic import ValidationError
from torch import Tensor

from lewm_cli.data import Finding, Problem, Remark
from lewm_cli.errors import LewmError
from lewm_cli.files import is_locked
from lewm_cli.heads import KINDS, fit_command, read_anchors, read_head
from lewm_cli.methods import RunCard
from lewm_cli.store import (
    BEST,
    Measurement,
    RunFiles,
    StoredStatistics,
    head_paths,
    method_of,
    read_card,
    read_tensors,
    weights_digest,
)
from lewm_cli.store.formats import ChoiceError, read_checkpoint
from lewm_cli.store.objects import check_sums, read_derived
from lewm_cli.store.origin import run_origin
from lewm_cli.suggestion import command
from lewm_cli.verify.check import RunCheck, origin_findings

TRAIN_AGAIN = "train or fetch it again"
COPY_AGAIN = "fetch or copy it again"


@dataclass
class _RunLooks:
    """The looks at one run, in order, which count in its check, and the values that later looks need."""

    check: RunCheck
    files: RunFiles
    folders: Sequence[Path]
    kinds: Mapping[str, type[Measurement]]
    card: RunCard | None = None
    state: dict[str, Tensor] | None = None
    digest: str | None = None

    @property
    def places(self) -> list[RunFiles]:
        """The files of the run, and those in which notes on it are kept."""
        return [self.files, *(RunFiles(folder.parent.with_suffix("")) for folder in self.folders)]

    def tensors(self) -> Iterator[Finding]:
        if self.files.external:
            try:
                read = read_checkpoint(self.files.external, copy=self.files.copy)
            except LewmError as error:
                if not isinstance(error.__cause__, ChoiceError):
                    raise
                yield Remark(f"holds several models, which have names: {error.__cause__.names(self.check.name)}")
                return
            self.state, self.check.method = read.state, method_of(self.check.name, read.spec.method)
        else:
            self.card = card = read_card(self.files.weights)
            with torch.device("meta"):  # names and shapes are all that is needed of the model
                model = card.new_model()
            self.check.method = card.method
            if card.provenance and card.provenance.train.method != card.method:
                trained = card.provenance.train.method
                yield Problem(f"its header says that it is of method {card.method}, and was trained by {trained}")
            self.state = read_tensors(self.files.weights, model)
        self.check.tensors = len(self.state)
        self.digest = weights_digest(self.files.weights)
        endless = [key for key, value in self.state.items() if not torch.isfinite(value).all()]
        if endless:
            says = f"{len(endless)} of {len(self.state)} tensors hold NaN or infinity, first {endless[0]!r}"
            yield Problem(says, self.again())

    def origin(self) -> Iterator[Finding]:
        """Check weights that were fetched."""
        origin = run_origin(self.files)
        if origin:
            yield from origin_findings(origin, (self.check.name, "--checkpoint"))

    def statistics(self) -> Iterator[Finding]:
        """Check the normalization of weights that do not carry their own."""
        if not self.files.external:
            return
        compute = f"compute them again: {command('show', self.check.name, '--stats-from', 'DATASET')}"
        there = [path for path in sorted({files.statistics for files in self.places}) if path.exists()]
        if not there:
            yield Remark("no statistics yet: evaluating it needs --stats-from DATASET")
        for path in there:
            try:
                stored = StoredStatistics.model_validate_json(path.read_bytes())
            except ValidationError:
                yield Problem(f"{path.name} holds no statistics that can be read", compute)
                continue
            if stored.weights_sha256 != self.digest:
                yield Remark(f"{path.name} is of earlier weights; {compute}")

    def derived(self) -> Iterator[Finding]:
        """Compare both derived files with the weights."""
        card, state, files = self.card, self.state, self.files
        if card is None or card.provenance is None or state is None:
            return  # there is nothing to compare with, or nothing was derived
        if is_locked(files.weights):
            yield Remark(f"being trained now, step {card.provenance.step:,}")
            return
        resume = command("train", card.inputs.task, "--name", self.check.name, "--resume")
        if files.stopped:
            try:
                check_sums(files.resume)
            except LewmError as error:
                yield Problem(f"training stopped, and {error}")
                return
            yield Remark(f"training stopped after step {card.provenance.step:,}; go on with: {resume}")
        again = f"write it again: {resume}" if files.resume.exists() else self.again()
        there = [path for path in (files.state_dict, files.object) if path.exists()]
        if len(there) < 2 and not files.stopped and not card.provenance.chosen_by:  # the end of training writes both
            missing = " and ".join(path.name for path in (files.state_dict, files.object) if path not in there)
            yield Problem(f"missing, for other tools: {missing}", again)
        others: list[dict[str, Tensor]] = []
        for path in there:
            try:
                derived = read_derived(path, card)
            except LewmError as error:
                yield Problem(str(error), again)
                continue
            differing = _differing(state, derived)
            if not differing:
                self.check.derived += 1
                continue
            others.append(derived)
            says = f"{path.name} holds other weights: {len(differing)} of {len(state)} tensors, first {differing[0]!r}"
            yield Problem(says, again)
        if len(others) == 2 and not _differing(*others):
            says = f"both derived files agree with each other, so {files.weights.name} itself may have been damaged"
            yield Problem(says, "put it back from a copy, or train it again")

    def heads(self) -> Iterator[Finding]:
        """Check heads that were fitted to the latents."""
        for kind in KINDS:
            again = fit_command(self.check.name, kind)
            for path in filter(Path.exists, head_paths(self.places, kind)):
                try:
                    stored = read_head(path, kind, again)
                except LewmError as error:
                    yield Problem(str(error), f"fit it again: {again}")
                    continue
                if stored.fit.weights_sha256 == self.digest:
                    self.check.heads += 1
                else:
                    yield Remark(f"{path.name} is of earlier weights; fit it again: {again}")

    def anchors(self) -> Iterator[Finding]:
        """Check what was encoded to aim at: it is made again as soon as plans aim at it."""
        for folder in dict.fromkeys(files.folder / "anchors" for files in self.places):
            for path in sorted(folder.glob("*.safetensors")):
                try:
                    index = read_anchors(path).index
                except LewmError as error:
                    yield Problem(str(error), f"it is made again, after: rm {quote(str(path))}")
                    continue
                if index.weights_sha256 != self.digest:
                    yield Remark(f"{path.name} is of earlier weights; it is made again when plans aim at it")

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
                again = f"measure again, after: rm {quote(str(path))}"
                yield Problem(f"{path.name} is no result that this version can read", again)
                continue
            if result.weights_sha256 == self.digest:
                self.check.results += 1
            else:
                self.check.older_results += 1

    def log(self) -> Iterator[Finding]:
        if not self.files.log.exists():
            return
        content = self.files.log.read_bytes()
        whole, cut = content.count(b"\n"), not content.endswith(b"\n") and bool(content)
        self.check.log_entries = sum(map(_is_event, content.split(b"\n")))
        spoiled = whole + cut - self.check.log_entries
        if whole and not self.check.log_entries:
            says = f"{self.files.log.name} is damaged: none of its {whole} lines can be read"
            yield Problem(says, f"the weights do not need it: rm {quote(str(self.files.log))}")
        elif spoiled > 0:
            yield Remark(f"{spoiled} lines of {self.files.log.name} cannot be read, as a kill leaves them")

    def again(self) -> str:
        if self.files.external:
            return COPY_AGAIN
        card = self.card
        if card is None or card.provenance is None:
            return TRAIN_AGAIN
        config = ("--config", self.files.config) if self.files.config.exists() else ()
        name = self.check.name.removesuffix(BEST)
        again = command("train", card.provenance.dataset.name, "--name", name, *config, "--overwrite")
        return f"train it again: {again}"


def check_run(name: str, files: RunFiles, folders: Sequence[Path], kinds: Mapping[str, type[Measurement]]) -> RunCheck:
    """Check everything that belongs to a run; damage is a finding, never an error.

    Args:
        folders: the folders of its stored measurements.
        kinds: classes of these, by the first word of their file names.
    """
    check = RunCheck(name=name, path=files.weights)
    looks = _RunLooks(check, files, folders, kinds)
    check.look(files.weights.name, looks.tensors, COPY_AGAIN if files.external else TRAIN_AGAIN)
    again = looks.again()
    check.look("its origin", looks.origin, COPY_AGAIN)
    check.look("the statistics", looks.statistics, again)
    check.look("what is derived from the weights", looks.derived, again)
    check.look("a head", looks.heads, fit_command(name, "reach"))
    check.look("anchors", looks.anchors, COPY_AGAIN)
    check.look("a stored result", looks.results, "measure again")
    check.look(files.log.name, looks.log, "the weights do not need it")
    return check


def _differing(state: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that are not the same bit for bit, or are in one of them only."""
    return sorted(key for key in state.keys() | other.keys() if not _same(state.get(key), other.get(key)))


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or one.dtype != other.dtype or one.shape != other.shape:
        return False
    # Bits, because NaN does not equal itself.
    return torch.equal(*(tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)))


def _is_event(line: bytes) -> bool:
    try:
        return "event" in json.loads(line)
    except (ValueError, TypeError):
        return False
