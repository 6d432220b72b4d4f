"""The base of every stored measurement of a run, and all that are stored of one run."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from lewm_cli.config import DatasetIdentity, Section
from lewm_cli.data import Dataset
from lewm_cli.provenance import command_line, installed_versions
from lewm_cli.store.runs import Run


class RunResult(Section):
    """The base of whatever is computed with a run: the weights, the tool and the time, enough to repeat it."""

    run: str
    weights_sha256: str
    task: str
    device: str
    versions: dict[str, str]
    command: str
    time: str
    """End of the computation, UTC, ISO 8601."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """The few fields that a notebook shows; `model_dump()` has all."""
        yield from (("run", self.run), ("time", self.time))

    @classmethod
    def now(cls, run: Run, **found: Any) -> Self:
        """Makes a result of a run that is complete now; `found` are the other fields."""
        return cls(
            run=run.name,
            weights_sha256=run.sha256,
            task=run.card.inputs.task,
            device=str(run.device),
            versions=installed_versions(),
            command=command_line(),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            **found,
        )


class Measurement(RunResult):
    """A result on a recording: it can be believed and repeated."""

    dataset: DatasetIdentity
    held_out: bool
    """True if the run was trained on none of the episodes."""
    seconds: float
    """Duration of the whole measurement, after imports."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """The few fields that a notebook shows, and the recording."""
        yield from super().__repr_args__()
        yield "dataset", self.dataset.name

    @classmethod
    def of(cls, run: Run, dataset: Dataset, *, held_out: bool, begun: float, **found: Any) -> Self:
        """Makes a measurement that ends now and began when `time.monotonic()` was `begun`; `found` are other fields."""
        seconds = time.monotonic() - begun
        return cls.now(run, dataset=dataset.identity, held_out=held_out, seconds=seconds, **found)


Kind = TypeVar("Kind", bound=Measurement)


@dataclass(frozen=True)
class StoredResults:
    """Every stored measurement of a run's present weights, the oldest first, and files that are no results."""

    measurements: tuple[Measurement, ...] = ()
    unreadable: tuple[Path, ...] = ()

    def of(self, kind: type[Kind]) -> tuple[Kind, ...]:
        """All of one kind, the oldest first."""
        return tuple(one for one in self.measurements if isinstance(one, kind))

    def newest(self, kind: type[Kind]) -> Kind | None:
        """The newest of one kind, if there is one."""
        return next(reversed(self.of(kind)), None)

    def only(self, wanted: Callable[[Measurement], bool]) -> Self:
        """Those that are wanted."""
        return type(self)(tuple(filter(wanted, self.measurements)), self.unreadable)
