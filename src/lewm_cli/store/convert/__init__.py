"""A run in the formats of other tools."""

from lewm_cli.store.convert.formats import HUB_FILES, Names, Target, write_as

__all__ = ["HUB_FILES", "Names", "Target", "write_as"]
