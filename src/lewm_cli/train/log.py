"""The log of a run: one JSON object per event, appended."""

import errno
import json
import os
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
        line = (json.dumps(entry | asdict(event)) + "\n").encode()
        with explained(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as log:
                whole = log.tell()
                if log.write(line) < len(line):  # the disk is full; half a line would spoil the next one
                    log.truncate(whole)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
