"""Published files: found, downloaded, unpacked."""

from lewm_cli.fetch.catalog import Entry, Published, read_catalog
from lewm_cli.fetch.deliver import Delivered, deliver_dataset, deliver_weights, kept_archive
from lewm_cli.fetch.plan import PlannedFetch, check_space, plan_fetch
from lewm_cli.fetch.sources import remotes
from lewm_cli.fetch.stage import ByteProgress, clear_finished
from lewm_cli.fetch.wanted import FetchRequest, Wanted

__all__ = [
    "ByteProgress",
    "Delivered",
    "Entry",
    "FetchRequest",
    "PlannedFetch",
    "Published",
    "Wanted",
    "check_space",
    "clear_finished",
    "deliver_dataset",
    "deliver_weights",
    "kept_archive",
    "plan_fetch",
    "read_catalog",
    "remotes",
]
