"""Checks of runs and datasets, their findings, and the command that helps where something is wrong."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from lewm_cli.data import Finding, Packing, Problem, Remark
from lewm_cli.errors import LewmError, kept_going
from lewm_cli.store import weights_digest
from lewm_cli.store.origin import FetchedFile, Origin
from lewm_cli.suggestion import command


@dataclass(kw_only=True)
class Check:
    """A thing that is looked at, by its name on the command line and its main file; filled in while it is."""

    kind: ClassVar[str]

    name: str
    path: Path
    findings: list[Finding] = field(default_factory=list)

    @property
    def problems(self) -> list[Problem]:
        """Findings that are wrong."""
        return [finding for finding in self.findings if isinstance(finding, Problem)]

    @property
    def remarks(self) -> list[Remark]:
        """Findings that are worth knowing."""
        return [finding for finding in self.findings if isinstance(finding, Remark)]

    @property
    def ok(self) -> bool:
        """True if nothing is wrong."""
        return not self.problems

    def look(self, what: str, finds: Callable[[], Iterable[Finding]], advice: str) -> None:
        """Adds what a look finds, with this advice for problems without one; damage that ends it is a problem too."""

        def failure(error: Exception) -> Finding:
            if isinstance(error, LewmError):
                return Problem(str(error))  # it says itself what to do
            return Problem(f"{what} cannot be read ({type(error).__name__}: {error})", advice)

        def advised() -> Iterator[Finding]:
            for finding in finds():
                yield replace(finding, advice=finding.advice or advice) if isinstance(finding, Problem) else finding

        self.findings += kept_going(advised, failure)


@dataclass(kw_only=True)
class RunCheck(Check):
    """A run.

    Args:
        method: that trained it, as far as is known.
        tensors: read, all of them by name and shape; None if they could not be.
        derived: derived files that equal the weights tensor by tensor.
        heads: fitted to the present weights, whole.
        results: stored measurements of the present weights.
        older_results: stored measurements of earlier weights.
        log_entries: events in the log of the training.
    """

    kind = "run"

    method: str | None = None
    tensors: int | None = None
    derived: int = 0
    heads: int = 0
    results: int = 0
    older_results: int = 0
    log_entries: int = 0


@dataclass(kw_only=True)
class DatasetCheck(Check):
    """A dataset.

    Args:
        episodes, rows: as its bookkeeping says; None if it cannot be opened.
        decoded: rows whose frames were decoded.
        checksums: whether its frames carry checksums, so that no flipped bit can pass.
        packed: the way that its frames are packed one chunk each; None if they are not.
    """

    kind = "dataset"

    episodes: int | None = None
    rows: int | None = None
    decoded: int = 0
    checksums: bool = False
    packed: Packing | None = None


def origin_findings(path: Path, what: Sequence[str]) -> Iterator[Finding]:
    """Compare every file that an origin names with the hash it had when it arrived; `what` is typed to fetch it."""
    origin = Origin.read(path)
    if origin is None:
        return
    source = ("--source", origin.source) if urlsplit(origin.source).scheme else ()
    again = f"fetch it again with: {command('fetch', *what, *source, '--force')}"
    known: dict[str, list[FetchedFile]] = {}
    for file in origin.files:
        known.setdefault(file.name, []).append(file)
    for name, (file, *others) in known.items():
        there = path.parent / name
        if not there.is_file():
            yield Problem(f"{name}, which was fetched with it, is gone", again)
        elif there.stat().st_size not in {one.size for one in (file, *others)}:
            says = f"{name} has {there.stat().st_size:,} bytes, and had {file.size:,} when it was fetched"
            yield Problem(says, again)
        elif (digest := weights_digest(there)) not in {one.sha256 for one in (file, *others)}:
            says = f"{name} is not what was fetched: sha256 {digest[:16]}..., and {file.sha256[:16]}... then"
            yield Problem(says, again)
