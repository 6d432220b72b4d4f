"""Findings about a run or a dataset, and the command that helps where something is wrong."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from lewm_cli.errors import LewmError, kept_going


@dataclass(frozen=True)
class Problem:
    """Something wrong.

    Args:
        says: one phrase.
        advice: what to do about it, where the phrase does not say it itself.
    """

    says: str
    advice: str | None = None


@dataclass(frozen=True)
class Remark:
    """Something worth knowing that is not wrong."""

    says: str


Finding = Problem | Remark


@dataclass(frozen=True, kw_only=True)
class Check:
    """A thing that was looked at.

    Args:
        name: as on the command line.
        path: its main file.
        findings: in the order of the look.
    """

    kind: ClassVar[str]

    name: str
    path: Path
    findings: tuple[Finding, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Findings that are wrong."""
        return tuple(finding for finding in self.findings if isinstance(finding, Problem))

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """Findings that are worth knowing."""
        return tuple(finding for finding in self.findings if isinstance(finding, Remark))

    @property
    def ok(self) -> bool:
        """True if nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, kw_only=True)
class RunCheck(Check):
    """A run.

    Args:
        tensors: read, all of them by name and shape; None if they could not be.
        derived: derived files that equal the weights tensor by tensor.
        heads: fitted to the present weights, whole.
        results: stored measurements of the present weights.
        older_results: stored measurements of earlier weights.
        log_entries: events in the log of the training.
    """

    kind = "run"

    tensors: int | None = None
    derived: int = 0
    heads: int = 0
    results: int = 0
    older_results: int = 0
    log_entries: int = 0


@dataclass(frozen=True, kw_only=True)
class DatasetCheck(Check):
    """A dataset.

    Args:
        episodes, rows: as its bookkeeping says; None if it cannot be opened.
        decoded: rows whose frames were decoded.
        checksums: whether its frames carry checksums, so that no flipped bit can pass.
    """

    kind = "dataset"

    episodes: int | None = None
    rows: int | None = None
    decoded: int = 0
    checksums: bool = False


@dataclass(frozen=True)
class Verification:
    """Everything that was looked at."""

    checks: tuple[Check, ...]

    @property
    def wrong(self) -> tuple[Check, ...]:
        """Checks that have a problem."""
        return tuple(check for check in self.checks if not check.ok)


def guarded(what: str, look: Callable[[], Iterable[Finding]], advice: str) -> Iterator[Finding]:
    """Yield what a look finds, with an advice for every problem; damage that ends the look is a problem too.

    Args:
        what: is looked at.
        look: finds something.
        advice: what to do about problems that come without advice, and if the look breaks off.
    """

    def failure(error: Exception) -> Finding:
        if isinstance(error, LewmError):
            return Problem(str(error))  # it says itself what to do
        return Problem(f"{what} cannot be read ({type(error).__name__}: {error})", advice)

    def advised() -> Iterator[Finding]:
        for finding in look():
            yield replace(finding, advice=finding.advice or advice) if isinstance(finding, Problem) else finding

    return kept_going(advised, failure)
