"""Measurements kept beside the run they are of."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from lewm_cli.config import EvalProtocol
from lewm_cli.data import Dataset
from lewm_cli.decode import DecodeResult
from lewm_cli.diagnose import FilmResult
from lewm_cli.evaluate import EpisodeResult, EvalResult, ImproveResult
from lewm_cli.files import try_writing, write_text
from lewm_cli.latent import LatentResult
from lewm_cli.offline import OfflineResult
from lewm_cli.probe import ProbeResult
from lewm_cli.store import Home, LoadedWeights, Measurement, Run, RunFiles, StoredResults
from lewm_cli.surprise import Alarm, DoseResult, PerturbationResult, SurpriseResult

TIME_FORMAT = "%Y%m%d-%H%M%S-%f"
TIME = len("20260101-000000-000000.json")
"""Characters in which the names of all kinds of results end, and by which they are in the order of time."""

KINDS: dict[str, type[Measurement]] = {
    "eval": EvalResult,
    "offline": OfflineResult,
    "films": FilmResult,
    "probe": ProbeResult,
    "latent": LatentResult,
    "surprise": SurpriseResult,
    "perturb": PerturbationResult,
    "doses": DoseResult,
    "alarm": Alarm,
    "decode": DecodeResult,
    "improve": ImproveResult,
}
"""The type of a stored result, by the first word of its file name."""


class Evaluated(NamedTuple):
    """A result, which is of one distance of the goals, and the file that it was stored in; that of films, if any."""

    result: EvalResult
    path: Path
    films: Path | None = None


def results_folder(home: Home, run: Run) -> Path:
    """Folder that takes results of a run: beside it, or in the home that takes the writes if it cannot be written."""
    return results_folders(home, run.name, run.files)[-1]


def results_folders(home: Home, name: str, files: RunFiles) -> tuple[Path, ...]:
    """Folders with results of a run: beside it, and where they are written if that is elsewhere."""
    return tuple(dict.fromkeys((files.results, home.sidecar(name, files).results)))


def try_keeping(home: Home, run: Run) -> None:
    """Try whether results of a run can be written, before one is measured; raises LewmError if not."""
    try_writing(results_folder(home, run) / "result.json")


def keep_result(home: Home, run: Run, kind: str, result: Measurement) -> Path:
    """Write a result under `<run>.run/results/<kind>-<time>.json`; raises LewmError if it cannot be written."""
    folder = results_folder(home, run)
    path = folder / f"{kind}-{_time_after(result_paths([folder])):{TIME_FORMAT}}.json"
    write_text(path, result.model_dump_json(by_alias=True))
    return path


def _time_after(paths: Sequence[Path]) -> datetime:
    """The time by which a new result is the newest: now, unless a machine whose clock is ahead has written one."""
    now = datetime.now(UTC)
    for path in reversed(paths):
        with suppress(ValueError, OverflowError):
            last = datetime.strptime(path.name[-TIME:].removesuffix(".json"), TIME_FORMAT).replace(tzinfo=UTC)
            return max(now, last + timedelta(microseconds=1 + now.microsecond))  # not the same for two writers
    return now


def result_paths(folders: Iterable[Path], kinds: Iterable[str] = KINDS) -> list[Path]:
    """Files of results in these folders, the oldest first."""
    paths = (path for folder in folders for kind in kinds for path in folder.glob(f"{kind}-*.json"))
    return sorted(paths, key=lambda path: path.name[-TIME:])


def find_evaluation(
    home: Home, run: Run, dataset: Dataset, protocol: EvalProtocol, episodes: tuple[EpisodeResult, ...]
) -> Evaluated | None:
    """Find the newest stored evaluation with exactly these outcomes, and its file."""
    wanted = (run.sha256, dataset.identity, protocol, episodes)
    for path in reversed(result_paths([results_folder(home, run)], ["eval"])):
        one = _read(path)
        if isinstance(one, EvalResult) and wanted == (one.weights_sha256, one.dataset, one.protocol, one.episodes):
            return Evaluated(one, path)
    return None


def stored_results(home: Home, run: LoadedWeights, kinds: Iterable[str] = KINDS) -> StoredResults:
    """Read every result of a run's present weights, or of some kinds; those of earlier weights are passed over."""
    read = {path: _read(path) for path in result_paths(results_folders(home, run.name, run.files), kinds)}
    present = tuple(result for result in read.values() if result and result.weights_sha256 == run.sha256)
    return StoredResults(present, tuple(path for path, result in read.items() if result is None))


def _read(path: Path) -> Measurement | None:
    """Read a result; None if the file holds none that this version stores."""
    try:
        return KINDS[path.name.partition("-")[0]].model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError, OSError):
        return None
