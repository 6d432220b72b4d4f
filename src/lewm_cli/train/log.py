"""The log of a run: one JSON object per event, appended, and read again for figures."""

import errno
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from lewm_cli.system_errors import explained
from lewm_cli.train.events import (
    HeldOutMeasured,
    StepsTaken,
    SuccessMeasured,
    TrainingEvent,
    TrainingFinished,
    TrainingStarted,
    Warned,
)


@dataclass(frozen=True)
class JsonLog:
    """A listener that appends every event to a file."""

    path: Path

    def __call__(self, event: TrainingEvent) -> None:
        entry = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": type(event).__name__}
        line = (json.dumps(entry | to_jsonable_python(event)) + "\n").encode()
        with explained(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as log:
                whole = log.tell()
                if log.write(line) < len(line):  # the disk is full; half a line would spoil the next one
                    log.truncate(whole)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@dataclass(frozen=True)
class TrainingHistory:
    """The events of a log, each step once: steps that a resumed run repeated replace the earlier ones.

    Args:
        steps: training losses, by step.
        held_out: measurements, by step.
        warnings: by step.
        seconds: spent training; None while it is not finished, and where it was resumed.
        evaluated: success on validation pairs, by step.
    """

    steps: tuple[StepsTaken, ...]
    held_out: tuple[HeldOutMeasured, ...]
    warnings: tuple[Warned, ...]
    seconds: float | None
    evaluated: tuple[SuccessMeasured, ...] = ()


def read_log(path: Path) -> TrainingHistory:
    """Read a log; lines that a kill cut short or another version wrote are passed over. No file is no history."""
    kept: dict[tuple[type, int], TrainingEvent] = {}
    seconds, resumed = None, False
    for event in _events(path):
        match event:
            case TrainingStarted():
                seconds, resumed = None, event.first_step > 0
                kept = {(kind, step): past for (kind, step), past in kept.items() if step <= event.first_step}
            case TrainingFinished():
                seconds = None if resumed else event.seconds
            case StepsTaken() | HeldOutMeasured() | SuccessMeasured() | Warned():
                kept[type(event), event.step] = event
    return TrainingHistory(
        tuple(event for event in kept.values() if isinstance(event, StepsTaken)),
        tuple(event for event in kept.values() if isinstance(event, HeldOutMeasured)),
        tuple(event for event in kept.values() if isinstance(event, Warned)),
        seconds,
        tuple(event for event in kept.values() if isinstance(event, SuccessMeasured)),
    )


def _events(path: Path) -> list[TrainingEvent]:
    kinds = (TrainingStarted, StepsTaken, HeldOutMeasured, SuccessMeasured, Warned, TrainingFinished)
    readers: dict[str, TypeAdapter[TrainingEvent]] = {kind.__name__: TypeAdapter(kind) for kind in kinds}
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        try:
            tree = json.loads(line)
            events.append(readers[tree["event"]].validate_python(tree))
        except (ValueError, KeyError, TypeError, ValidationError):
            continue
    return events
