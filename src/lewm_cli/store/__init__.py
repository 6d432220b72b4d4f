"""The checkpoint store at $STABLEWM_HOME: where datasets and runs lie, what they are called, how runs are read."""

from lewm_cli.store.heads import head_paths, load_head, write_head
from lewm_cli.store.home import Home
from lewm_cli.store.inventory import DatasetEntry, Inventory, RunEntry, list_runs, take_inventory
from lewm_cli.store.load import (
    NOTHING_SAID,
    AutoCostModel,
    Foreign,
    load,
    load_run,
    load_weights,
    stored_card,
    with_statistics,
)
from lewm_cli.store.locate import FoundRun
from lewm_cli.store.measurement import Measurement, RunResult, StoredResults
from lewm_cli.store.names import check_name, dataset_task
from lewm_cli.store.objects import restore_model
from lewm_cli.store.run_files import RunFiles
from lewm_cli.store.runs import LoadedWeights, Run, read_card, read_tensors, save_derived, save_run, weights_digest
from lewm_cli.store.statistics import StoredStatistics, stored_statistics

__all__ = [
    "NOTHING_SAID",
    "AutoCostModel",
    "DatasetEntry",
    "Foreign",
    "FoundRun",
    "Home",
    "Inventory",
    "LoadedWeights",
    "Measurement",
    "Run",
    "RunEntry",
    "RunFiles",
    "RunResult",
    "StoredResults",
    "StoredStatistics",
    "check_name",
    "dataset_task",
    "head_paths",
    "list_runs",
    "load",
    "load_head",
    "load_run",
    "load_weights",
    "read_card",
    "read_tensors",
    "restore_model",
    "save_derived",
    "save_run",
    "stored_card",
    "stored_statistics",
    "take_inventory",
    "weights_digest",
    "with_statistics",
    "write_head",
]
