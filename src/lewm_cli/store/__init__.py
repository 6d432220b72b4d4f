"""The checkpoint store at $STABLEWM_HOME: homes, names, runs and their files, loaded strictly and safely."""

from typing import TYPE_CHECKING

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.store.encoders import StoredEncoder, encoder_of_folder, encoder_of_run
    from lewm_cli.store.external import NO_OPTIONS, ExternalWeights, Say, silent
    from lewm_cli.store.formats.pretrained import is_pretrained
    from lewm_cli.store.header import read_card
    from lewm_cli.store.home import Home
    from lewm_cli.store.inventory import Inventory, RunEntry, list_runs, newest_run, take_inventory
    from lewm_cli.store.load import load_run, load_weights, stored_card, with_statistics
    from lewm_cli.store.locate import FoundRun
    from lewm_cli.store.measurement import Measurement, RunResult, StoredResults
    from lewm_cli.store.names import (
        check_name,
        dataset_task,
        is_name,
        method_of,
        named_task,
        names_release,
        names_state,
    )
    from lewm_cli.store.objects import save_derived
    from lewm_cli.store.run_files import BEST, RunFiles, head_paths
    from lewm_cli.store.runs import LoadedWeights, Run, load_head, read_tensors, save_run, weights_digest, write_head
    from lewm_cli.store.stored_statistics import StoredStatistics
else:
    __getattr__ = lazy_names(__name__)
