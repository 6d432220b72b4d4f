"""Measurements kept beside the run they are of."""

import os
from datetime import UTC, datetime
from pathlib import Path

from lewm_cli.config import Section
from lewm_cli.files import write_text
from lewm_cli.store import Home, Run, RunFiles


def keep_result(home: Home, run: Run, kind: str, result: Section) -> Path:
    """Write a result under `<run>.run/results/<kind>-<time>.json`.

    A run on read-only shared storage keeps its results in the home that takes the writes.

    Raises:
        LewmError: the disk is full or the folder cannot be written.
    """
    writable = os.access(run.files.stem.parent, os.W_OK)
    folder = (run.files if writable else RunFiles(home.new_run_stem(run.name))).results
    path = folder / f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.json"
    write_text(path, result.model_dump_json(indent=1, by_alias=True))
    return path
