"""The checkpoint store at $STABLEWM_HOME: where datasets and runs lie, what they are called, how runs are read."""

from lewm_cli.store.head_fit import HeadFit, HeadKind, PositionScore, ProbeFit, ReachFit, ReachScore
from lewm_cli.store.heads import (
    HEAD_KINDS,
    ONLY,
    SHUFFLED,
    StoredHead,
    find_head,
    fit_command,
    head_paths,
    read_head,
    save_head,
)
from lewm_cli.store.home import Home
from lewm_cli.store.inventory import DatasetEntry, Inventory, RunEntry, list_runs, take_inventory
from lewm_cli.store.latents import LatentEpisodes, LatentSplit, encode_episodes
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
from lewm_cli.store.measurement import Measurement, StoredResults
from lewm_cli.store.names import check_name, dataset_task
from lewm_cli.store.objects import restore_model
from lewm_cli.store.run_files import RunFiles
from lewm_cli.store.runs import LoadedWeights, Run, read_card, read_tensors, save_derived, save_run, weights_digest
from lewm_cli.store.statistics import StoredStatistics, stored_statistics

__all__ = [
    "HEAD_KINDS",
    "NOTHING_SAID",
    "ONLY",
    "SHUFFLED",
    "AutoCostModel",
    "DatasetEntry",
    "Foreign",
    "FoundRun",
    "HeadFit",
    "HeadKind",
    "Home",
    "Inventory",
    "LatentEpisodes",
    "LatentSplit",
    "LoadedWeights",
    "Measurement",
    "PositionScore",
    "ProbeFit",
    "ReachFit",
    "ReachScore",
    "Run",
    "RunEntry",
    "RunFiles",
    "StoredHead",
    "StoredResults",
    "StoredStatistics",
    "check_name",
    "dataset_task",
    "encode_episodes",
    "find_head",
    "fit_command",
    "head_paths",
    "list_runs",
    "load",
    "load_run",
    "load_weights",
    "read_card",
    "read_head",
    "read_tensors",
    "restore_model",
    "save_derived",
    "save_head",
    "save_run",
    "stored_card",
    "stored_statistics",
    "take_inventory",
    "weights_digest",
    "with_statistics",
]
