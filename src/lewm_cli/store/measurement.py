"""What every stored measurement of a run carries, so that it can be believed and repeated."""

import time
from datetime import UTC, datetime
from typing import Any, Self

from lewm_cli.config import DatasetIdentity, Section
from lewm_cli.data import Dataset
from lewm_cli.provenance import command_line, installed_versions
from lewm_cli.store.runs import Run


class Measurement(Section):
    """Which weights were measured on which recording, by what, when."""

    run: str
    weights_sha256: str
    task: str
    dataset: DatasetIdentity
    held_out: bool
    """Whether the run was trained on none of the episodes."""
    seconds: float
    """Of the whole measurement, after imports."""
    device: str
    versions: dict[str, str]
    command: str
    time: str
    """When it ended, UTC, ISO 8601."""

    @classmethod
    def of(cls, run: Run, dataset: Dataset, *, held_out: bool, begun: float, **found: Any) -> Self:
        """A measurement that ends now.

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
