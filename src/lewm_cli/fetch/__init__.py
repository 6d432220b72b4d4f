"""Fetches published files: found in the catalog, downloaded, unpacked, installed in the home."""

from typing import TYPE_CHECKING

from lewm_cli.lazy import lazy_names

if TYPE_CHECKING:
    from lewm_cli.fetch.catalog import Entry, Published, read_catalog
    from lewm_cli.fetch.destinations import PlannedFetch, check_space, clear_finished, plan_fetch
    from lewm_cli.fetch.hub_model import hub_folder
    from lewm_cli.fetch.install import Installed, as_recorded, find_archive, install_dataset, install_weights
    from lewm_cli.fetch.remote import Advance, Begin, ByteProgress, Transfer
    from lewm_cli.fetch.sources import find_sources
    from lewm_cli.fetch.target import find_targets
else:
    __getattr__ = lazy_names(__name__)
