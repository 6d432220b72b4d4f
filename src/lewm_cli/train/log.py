"""The log of a run: one JSON object per event, appended."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from lewm_cli.files import explained
from lewm_cli.train.events import TrainingEvent


class JsonLog:
    """A listener that appends every event to `log.jsonl`.

    Args:
        path: the log file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, event: TrainingEvent) -> None:
        entry = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": type(event).__name__}
        line = json.dumps(entry | asdict(event)) + "\n"
        with explained(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as log:
                log.write(line)
