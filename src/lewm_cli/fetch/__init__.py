"""Fetches published files: found in the catalog, downloaded, unpacked, installed in the home."""

from lewm_cli.fetch.catalog import Entry, Published, read_catalog
from lewm_cli.fetch.destinations import PlannedFetch, check_space, plan_fetch
from lewm_cli.fetch.install import Installed, install_dataset, install_weights, kept_archive
from lewm_cli.fetch.sources import find_remotes
from lewm_cli.fetch.staging import clear_finished
from lewm_cli.fetch.targets import find_targets
from lewm_cli.fetch.transfer import ByteProgress

__all__ = [
    "ByteProgress",
    "Entry",
    "Installed",
    "PlannedFetch",
    "Published",
    "check_space",
    "clear_finished",
    "find_remotes",
    "find_targets",
    "install_dataset",
    "install_weights",
    "kept_archive",
    "plan_fetch",
    "read_catalog",
]
