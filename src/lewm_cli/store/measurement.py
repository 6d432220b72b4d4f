"""The base of every stored measurement of a run, and all that are stored of one run."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from lewm_cli.config import DatasetIdentity, Section
from lewm_cli.data import Dataset
from lewm_cli.provenance import command_line, installed_versions
from lewm_cli.store.runs import Run


class Measurement(Section):
    """The weights that were measured, the recording, the tool and the time: enough to believe and repeat it."""

    run: str
    weights_sha256: str
    task: str
    dataset: DatasetIdentity
    held_out: bool
    """True if the run was trained on none of the episodes."""
    seconds: float
    """Duration of the whole measurement, after imports."""
    device: str
    versions: dict[str, str]
    command: str
    time: str
    """End of the measurement, UTC, ISO 8601."""

    @classmethod
    def of(cls, run: Run, dataset: Dataset, *, held_out: bool, begun: float, **found: Any) -> Self:
        """Makes a measurement that ends now.

        Args:
            run: what was measured.
            dataset: where the episodes come from.
            held_out: whether the run was trained on none of them.
            begun: when, as `time.monotonic()` gives it.
            found: the other fields.
        """
        return cls(
            run=run.name,
            weights_sha256=run.sha256,
            task=run.card.inputs.task,
            dataset=dataset.identity,
            held_out=held_out,
            seconds=time.monotonic() - begun,
            device=str(run.device),
            versions=installed_versions(),
            command=command_line(),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            **found,
        )


Kind = TypeVar("Kind", bound=Measurement)


@dataclass(frozen=True)
class StoredResults:
    """Every stored measurement of a run's present weights.

    Args:
        measurements: the oldest first.
        unreadable: files beside them that are no results of this version.
    """

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
