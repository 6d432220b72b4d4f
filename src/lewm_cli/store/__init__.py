"""The checkpoint store at $STABLEWM_HOME: homes, names, runs and their files, loaded strictly and safely."""

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
from lewm_cli.store.inventory import Inventory, RunEntry, list_runs, take_inventory
from lewm_cli.store.latents import LatentEpisodes, LatentSplit, encode_episodes
from lewm_cli.store.load import (
    NOTHING_SAID,
    AutoCostModel,
    Foreign,
    Say,
    load,
    load_run,
    load_weights,
    silent,
    stored_card,
    with_statistics,
)
from lewm_cli.store.locate import FoundRun
from lewm_cli.store.measurement import Measurement, StoredResults
from lewm_cli.store.names import DATASET_SUFFIXES, check_name, names_release, split_step
from lewm_cli.store.normalization import StoredStatistics
from lewm_cli.store.recognize import dataset_task, named_task
from lewm_cli.store.run_files import RunFiles
from lewm_cli.store.runs import LoadedWeights, Run, read_card, read_tensors, save_derived, save_run, weights_digest

__all__ = [
    "DATASET_SUFFIXES",
    "HEAD_KINDS",
    "NOTHING_SAID",
    "ONLY",
    "SHUFFLED",
    "AutoCostModel",
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
    "Say",
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
    "named_task",
    "names_release",
    "read_card",
    "read_head",
    "read_tensors",
    "save_derived",
    "save_head",
    "save_run",
    "silent",
    "split_step",
    "stored_card",
    "take_inventory",
    "weights_digest",
    "with_statistics",
]
