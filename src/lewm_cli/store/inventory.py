"""Lists the datasets and runs of a home."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lewm_cli.config import Inputs, WorldModelConfig
from lewm_cli.data import Dataset
from lewm_cli.errors import LewmError
from lewm_cli.methods import METHODS, RunCard
from lewm_cli.store.external import Say
from lewm_cli.store.formats import shard_files
from lewm_cli.store.formats.config_json import read_config_json
from lewm_cli.store.header import read_card
from lewm_cli.store.home import Home
from lewm_cli.store.locate import FoundRun
from lewm_cli.store.names import dataset_task, named_method
from lewm_cli.store.stored_statistics import StoredStatistics, stored_statistics

LAST_SECOND = datetime.max.replace(tzinfo=UTC).timestamp() - 1
"""The latest time that a date can tell; files may be dated later."""


@dataclass(frozen=True)
class DatasetEntry:
    """A recording in the home; `problem` says why it cannot be used, and then `dataset` is None."""

    name: str
    path: Path
    size: int
    task: str | None
    dataset: Dataset | None
    problem: str | None = None


@dataclass(frozen=True)
class RunEntry:
    """A run in the home; nothing of its tensors has been looked at.

    Args:
        path, size, modified: of its weights; bytes, and when they were written.
        kind: what its weights are; "lewm" if they are ours.
        method: that trained it, as far as its header, its configuration or its name tells.
        card: of our own.
        statistics: stored for weights of another tool; None if they have to be computed before the run can be used.
        problem: why it cannot be used, if that is known.
    """

    name: str
    path: Path
    size: int
    modified: datetime
    kind: str
    method: str | None
    card: RunCard | None
    statistics: StoredStatistics | None = None
    problem: str | None = None

    @property
    def imagines(self) -> bool:
        """False if it is known to be a policy, which imagines nothing that could be measured."""
        method = METHODS.get(self.method or "")
        return method is None or issubclass(method.Sizes, WorldModelConfig)

    @property
    def inputs(self) -> Inputs | None:
        """The normalization of its inputs, as far as that is known without loading it."""
        known = self.card or self.statistics
        return known.inputs if known else None


@dataclass(frozen=True)
class Inventory:
    """All datasets and runs, in the order they are searched."""

    datasets: tuple[DatasetEntry, ...]
    runs: tuple[RunEntry, ...]


def take_inventory(home: Home) -> Inventory:
    """Look at everything; damaged files are listed with what is wrong with them."""
    return Inventory(tuple(_dataset_entry(name, path) for name, path in home.dataset_files()), list_runs(home))


def newest_run(runs: Iterable[RunEntry], say: Say) -> RunEntry:
    """The run that was written last, of at least one; it is said if that may be another one, for a clock was wrong."""
    newest = max(runs, key=lambda run: run.modified)
    if newest.modified > datetime.now(UTC):
        say(f"note: {newest.path} is dated in the future ({newest.modified:%Y-%m-%d}), so another may be newer")
    return newest


def list_runs(home: Home) -> tuple[RunEntry, ...]:
    """All runs, in the order they are searched."""
    return tuple(_run_entry(home, run) for run in home.runs())


def _dataset_entry(name: str, path: Path) -> DatasetEntry:
    from lewm_cli.data import open_dataset  # which needs HDF5

    size = path.stat(follow_symlinks=path.exists()).st_size
    try:
        dataset = open_dataset(path, name)
    except LewmError as error:
        return DatasetEntry(name, path, size, None, None, str(error))
    return DatasetEntry(name, path, size, dataset_task(dataset).name, dataset)


def _run_entry(home: Home, run: FoundRun) -> RunEntry:
    path = run.files.weights
    status = path.stat(follow_symlinks=path.exists())  # a link that leads nowhere has one, too
    card, statistics, size, method = None, None, status.st_size, named_method(run.name)
    problem = run.problem
    try:
        if run.own:
            card = read_card(path)
            method = card.method
        else:
            size = sum(part.stat(follow_symlinks=part.exists()).st_size for part in shard_files(path))
            statistics = next(stored_statistics(home, run.name, run.files), None)
            method = _configured_method(run) or method
    except LewmError as error:
        problem = str(error)
    modified = datetime.fromtimestamp(min(max(status.st_mtime, 0), LAST_SECOND), UTC)
    return RunEntry(run.name, path, size, modified, run.kind, method, card, statistics, problem)


def _configured_method(run: FoundRun) -> str | None:
    """The method that the config.json beside weights says; an object checkpoint carries its own, and is not opened."""
    if run.kind == "object checkpoint":
        return None
    try:
        return read_config_json(run.files.weights.with_name("config.json")).method
    except (LewmError, OSError):  # loading says what is wrong with it
        return None
