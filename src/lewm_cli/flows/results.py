"""Measurements kept beside the run they are of."""

from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from lewm_cli.config import EvalProtocol
from lewm_cli.data import Dataset
from lewm_cli.diagnose import FilmResult
from lewm_cli.evaluate import EpisodeResult, EvalResult
from lewm_cli.files import write_text
from lewm_cli.probe import ProbeResult
from lewm_cli.store import Home, LoadedWeights, Measurement, Run, RunFiles, StoredResults
from lewm_cli.surprise import PerturbationResult, SurpriseResult

TIME = len("20260101-000000-000000.json")

KINDS: dict[str, type[Measurement]] = {
    "eval": EvalResult,
    "films": FilmResult,
    "probe": ProbeResult,
    "surprise": SurpriseResult,
    "perturb": PerturbationResult,
}
"""The type of a stored result, by the first word of its file name."""


def results_folder(home: Home, run: Run) -> Path:
    """Folder that takes results of a run: beside it, or in the home that takes the writes if it cannot be written."""
    return results_folders(home, run.name, run.files)[-1]


def results_folders(home: Home, name: str, files: RunFiles) -> tuple[Path, ...]:
    """Folders with results of a run: beside it, and where they are written if that is elsewhere."""
    return tuple(dict.fromkeys((files.results, home.sidecar(name, files).results)))


def keep_result(home: Home, run: Run, kind: str, result: Measurement) -> Path:
    """Write a result under `<run>.run/results/<kind>-<time>.json`.

    Raises:
        LewmError: the disk is full or the folder cannot be written.
    """
    path = results_folder(home, run) / f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.json"
    write_text(path, result.model_dump_json(by_alias=True))
    return path


def find_evaluation(
    home: Home, run: Run, dataset: Dataset, protocol: EvalProtocol, episodes: tuple[EpisodeResult, ...]
) -> tuple[EvalResult, Path] | None:
    """Find the newest stored evaluation with exactly these outcomes, and its file."""
    for path in sorted(results_folder(home, run).glob("eval-*.json"), reverse=True):
        try:
            result = EvalResult.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError, OSError):
            continue
        about = (result.weights_sha256, result.dataset, result.protocol, result.episodes)
        if about == (run.sha256, dataset.identity, protocol, episodes):
            return result, path
    return None


def stored_results(home: Home, run: LoadedWeights) -> StoredResults:
    """Read every result of a run's present weights; those of earlier weights are passed over."""
    folders = results_folders(home, run.name, run.files)
    paths = sorted((path for folder in folders for path in folder.glob("*.json")), key=lambda path: path.name[-TIME:])
    found, unreadable = list[Measurement](), list[Path]()
    for path in paths:
        kind = KINDS.get(path.name.partition("-")[0])
        if kind is None:
            continue
        try:
            found.append(kind.model_validate_json(path.read_text(encoding="utf-8")))
        except (ValidationError, UnicodeDecodeError, OSError):
            unreadable.append(path)
    return StoredResults(tuple(one for one in found if one.weights_sha256 == run.sha256), tuple(unreadable))
