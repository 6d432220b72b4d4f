"""The checkpoint store at $STABLEWM_HOME: where datasets and runs lie, what they are called, how runs are read."""

from lewm_cli.store.home import Home
from lewm_cli.store.inventory import DatasetEntry, Inventory, RunEntry, list_runs, take_inventory
from lewm_cli.store.measurement import Measurement
from lewm_cli.store.names import check_name, dataset_task
from lewm_cli.store.objects import restore_model
from lewm_cli.store.runs import (
    AutoCostModel,
    Run,
    RunFiles,
    load,
    load_run,
    read_card,
    read_tensors,
    save_derived,
    save_run,
    weights_digest,
)

__all__ = [
    "AutoCostModel",
    "DatasetEntry",
    "Home",
    "Inventory",
    "Measurement",
    "Run",
    "RunEntry",
    "RunFiles",
    "check_name",
    "dataset_task",
    "list_runs",
    "load",
    "load_run",
    "read_card",
    "read_tensors",
    "restore_model",
    "save_derived",
    "save_run",
    "take_inventory",
    "weights_digest",
]
