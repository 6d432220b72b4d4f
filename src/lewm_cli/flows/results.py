"""Measurements kept beside the run they are of."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from lewm_cli.evaluate import EvalResult, FilmResult
from lewm_cli.files import write_text
from lewm_cli.probe import ProbeResult
from lewm_cli.report import StoredResults
from lewm_cli.store import Home, Measurement, Run, RunFiles
from lewm_cli.surprise import PerturbationResult, SurpriseResult

TIME = len("20260101-000000-000000.json")

Kind = TypeVar("Kind", bound=Measurement)


def results_folder(home: Home, run: Run) -> Path:
    """Where results of a run are written: beside it; in the home that takes the writes if it lies on shared storage."""
    writable = os.access(run.files.stem.parent, os.W_OK)
    return (run.files if writable else RunFiles(home.new_run_stem(run.name))).results


def keep_result(home: Home, run: Run, kind: str, result: Measurement) -> Path:
    """Write a result under `<run>.run/results/<kind>-<time>.json`.

    Raises:
        LewmError: the disk is full or the folder cannot be written.
    """
    path = results_folder(home, run) / f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.json"
    write_text(path, result.model_dump_json(by_alias=True))
    return path


def stored_results(home: Home, run: Run) -> StoredResults:
    """Read every result of a run's present weights; those of earlier weights are passed over."""
    folders = dict.fromkeys((run.files.results, results_folder(home, run)))
    paths = sorted((path for folder in folders for path in folder.glob("*.json")), key=lambda path: path.name[-TIME:])
    unreadable: list[Path] = []

    def read(prefix: str, kind: type[Kind]) -> tuple[Kind, ...]:
        found = []
        for path in paths:
            if path.name.startswith(f"{prefix}-"):
                try:
                    found.append(kind.model_validate_json(path.read_text(encoding="utf-8")))
                except (ValidationError, UnicodeDecodeError, OSError):
                    unreadable.append(path)
        return tuple(result for result in found if result.weights_sha256 == run.sha256)

    return StoredResults(
        evaluations=read("eval", EvalResult),
        films=read("films", FilmResult),
        probes=read("probe", ProbeResult),
        surprises=read("surprise", SurpriseResult),
        perturbations=read("perturb", PerturbationResult),
        unreadable=tuple(unreadable),
    )
