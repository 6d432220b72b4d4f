"""The log of a run: one JSON object per event, appended, and read again for figures."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from lewm_cli.system_errors import explained
from lewm_cli.train.events import (
    HeldOutMeasured,
    LatentsMeasured,
    StepsTaken,
    SuccessMeasured,
    TrainingEvent,
    TrainingFinished,
    TrainingStarted,
    Warned,
)


@dataclass(frozen=True)
class JsonLog:
    """A listener that appends every event to a file, but for the latents, which are large and follow from the run."""

    path: Path

    def __call__(self, event: TrainingEvent) -> None:
        if isinstance(event, LatentsMeasured):
            return
        entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": type(event).__name__}
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


@dataclass(frozen=True)
class Entry:
    """An event of a log.

    Args:
        seconds: that training had run before it; what it did over after it was resumed, and pauses, do not count.
    """

    seconds: float
    event: TrainingEvent

    @property
    def step(self) -> int:
        """Optimizer steps taken then."""
        return self.event.first_step if isinstance(self.event, TrainingStarted) else self.event.step


def read_log(path: Path) -> TrainingHistory:
    """Read a log; lines that a kill cut short or another version wrote are passed over. No file is no history."""
    events = [entry.event for entry in read_entries(path)]
    begun = [event for event in events if isinstance(event, TrainingStarted)]
    ended = [event for event in events if isinstance(event, TrainingFinished)]
    return TrainingHistory(
        tuple(event for event in events if isinstance(event, StepsTaken)),
        tuple(event for event in events if isinstance(event, HeldOutMeasured)),
        tuple(event for event in events if isinstance(event, Warned)),
        ended[-1].seconds if ended and not (begun and begun[-1].first_step) else None,
        # Done over where training was resumed at that step.
        tuple({event.step: event for event in events if isinstance(event, SuccessMeasured)}.values()),
    )


def read_entries(path: Path) -> list[Entry]:
    """Read what counts of a log: everything of the last training but what it did over after it was resumed."""
    kept: list[Entry] = []
    began = before = now = 0.0
    for time, event in _events(path):
        now = max(now, time)  # a clock that was set back takes nothing away
        if isinstance(event, TrainingStarted):
            kept = [past for past in kept if 0 < past.step <= event.first_step]
            began, before = now, kept[-1].seconds if kept else 0.0
        kept.append(Entry(before + now - (began or now), event))
    return kept


def _events(path: Path) -> Iterator[tuple[float, TrainingEvent]]:
    """The events with the time at which each was written, in seconds; 0 where no time can be read."""
    kinds = (TrainingStarted, StepsTaken, HeldOutMeasured, SuccessMeasured, Warned, TrainingFinished)
    readers: dict[str, TypeAdapter[TrainingEvent]] = {kind.__name__: TypeAdapter(kind) for kind in kinds}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        try:
            tree = json.loads(line)
            event = readers[tree["event"]].validate_python(tree)
        except (ValueError, KeyError, TypeError, ValidationError):
            continue
        time = 0.0
        with suppress(ValueError, KeyError, TypeError):
            time = datetime.fromisoformat(tree["time"]).timestamp()
        yield time, event
